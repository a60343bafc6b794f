/** What is shown of baselines: the region's own, and the verdict of each link's gate. */
import type { GateVerdict } from '../apply/lane/baseline-gate.ts';
import type { BaselineState } from '../capture/baseline.ts';
import type { BaselineStatus, LinkBaseline } from './agent-status.ts';
import { toProblem } from './link-activity.ts';

const NOTHING = { detail: null, tables_total: 0, tables_done: 0, table: null, rows: 0, percent: 0 };

export function baselineStatus(state: BaselineState): BaselineStatus {
  const { kind } = state;
  switch (kind) {
    case 'starting':
      return { state: kind, ...NOTHING };
    case 'waiting':
      return { state: kind, ...NOTHING, detail: 'for transactions that were in progress where the stream begins' };
    case 'scanning':
      return { state: kind, detail: null, ...state.progress };
    case 'failed':
      return { state: kind, ...NOTHING, detail: toProblem(state.error).detail };
    case 'known': {
      const tables = state.tables.length;
      const rows = state.tables.reduce((sum, table) => sum + table.rows, 0);
      return { state: kind, detail: null, tables_total: tables, tables_done: tables, table: null, rows, percent: 100 };
    }
    case 'trusted':
      return { state: kind, ...NOTHING, detail: 'rows from before are taken for equal everywhere, and were not read' };
    case 'untold':
      return { state: kind, ...NOTHING, detail: state.reason };
  }
}

export function linkBaseline(verdict: GateVerdict): LinkBaseline {
  switch (verdict.kind) {
    case 'joined':
      return { state: 'joined', detail: null };
    case 'equal': {
      const { uncompared } = verdict;
      const detail =
        uncompared.length === 0 ? null : `not compared, as one of both did not publish them: ${uncompared.join(', ')}`;
      return { state: 'equal', detail };
    }
    case 'trusted':
      return { state: 'trusted', detail: 'rows from before are taken for equal' };
    case 'waiting':
      return { state: 'waiting', detail: `the baseline of ${verdict.region} is not known yet` };
    case 'refused':
      return { state: 'refused', detail: verdict.detail };
  }
}

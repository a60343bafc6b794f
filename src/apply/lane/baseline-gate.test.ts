import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { waitFor } from '../../../test/support/wait-for.ts';
import { BaselineTally, compareBaselines, type TableBaseline } from '../../change/baseline.ts';
import { type BaselineRecord, baselineRecord, type LogRecord, runRecord } from '../../change/stream-record.ts';
import type { EventLog } from '../../log/event-log.ts';
import { MemoryLog } from '../../log/memory-log.ts';
import { BaselineGate, type GateVerdict, isOpen, judge, type OwnBaseline } from './baseline-gate.ts';

const REGIONS = { here: 'eu', source: 'us' };

function tableOf(rows: number, name = 't', reason: string | null = null): TableBaseline {
  const tally = new BaselineTally({ schema: 'public', table: name, columns: ['id'], key: ['id'] });
  for (let id = 0; id < rows; id += 1) tally.toggle({ id: String(id) }, 1);
  if (reason !== null) tally.giveUp(reason);
  return tally.result();
}

const saying = (said: Partial<BaselineRecord>): BaselineRecord => ({
  region_id: 'us',
  epoch: '1000000000000000000',
  trusted: false,
  tables: null,
  untold: null,
  ...said,
});

const tables = fc.array(
  fc.tuple(fc.nat({ max: 2 }), fc.constantFrom('t', 'u'), fc.constantFrom(null, null, 'it was truncated')),
  { maxLength: 2 },
);
const toTables = (list: readonly (readonly [number, string, string | null])[]): TableBaseline[] => [
  ...new Map(list.map(([rows, name, reason]) => [name, tableOf(rows, name, reason)])).values(),
];

describe('a verdict', () => {
  test('stays closed unless both sides are known to have held the same', () => {
    const own = fc.oneof(
      fc.constant<OwnBaseline>({ kind: 'unknown' }),
      fc.constant<OwnBaseline>({ kind: 'unread' }),
      fc.constant<OwnBaseline>({ kind: 'untold', reason: 'gone' }),
      tables.map((list): OwnBaseline => ({ kind: 'known', tables: toTables(list) })),
    );
    const said = fc.oneof(
      fc.constant(null),
      fc.constant(saying({ trusted: true })),
      fc.constant(saying({ untold: 'gone' })),
      fc.tuple(tables, fc.boolean()).map(([list, trusted]) => saying({ trusted, tables: toTables(list) })),
    );
    fc.assert(
      fc.property(own, said, (here, there) => {
        const verdict = judge(REGIONS, here, there);
        const known = here.kind === 'known' && there !== null && there.tables !== null;
        const found = known ? compareBaselines(here.tables, there.tables ?? []) : null;
        assert.equal(isOpen(verdict), found !== null && found.different.length === 0 && found.untold.length === 0);
      }),
      { numRuns: 1_000 },
    );
  });

  test('has the code of what stands in the way, and names tables with the rows of both sides', () => {
    const known: OwnBaseline = { kind: 'known', tables: [tableOf(3), tableOf(1, 'u')] };
    const cases: readonly (readonly [OwnBaseline, BaselineRecord | null, Partial<GateVerdict>])[] = [
      [known, null, { kind: 'waiting', region: 'us' }],
      [{ kind: 'unknown' }, saying({ tables: [] }), { kind: 'waiting', region: 'eu' }],
      [known, saying({ trusted: true }), { kind: 'refused', code: 'SYN-B003' }],
      [known, saying({ untold: 'its stream was trimmed' }), { kind: 'refused', code: 'SYN-B002' }],
      [{ kind: 'untold', reason: 'x' }, saying({ tables: [] }), { kind: 'refused', code: 'SYN-B002' }],
      [known, saying({ tables: [tableOf(3, 't', 'it was truncated')] }), { kind: 'refused', code: 'SYN-B002' }],
      [known, saying({ tables: [tableOf(3)] }), { kind: 'equal', compared: 1, uncompared: ['public.u'] }],
    ];
    for (const [own, said, expected] of cases) {
      const verdict: Record<string, unknown> = { ...judge(REGIONS, own, said) };
      for (const [name, value] of Object.entries(expected)) assert.deepEqual(verdict[name], value);
    }
    const different = judge(REGIONS, known, saying({ tables: [tableOf(2), tableOf(1, 'u')] }));
    assert.deepEqual(different, {
      kind: 'refused',
      code: 'SYN-B001',
      detail:
        'eu and us held different rows where replication began: public.t (3 rows in eu, 2 in us; 1 of 64 parts of the keys differ)',
    });
  });
});

describe('the gate', () => {
  async function streamOf(records: readonly LogRecord[]): Promise<EventLog> {
    const log = new MemoryLog();
    await (await log.writer('us')).append(records);
    return log;
  }

  function gateOf(log: EventLog, verdicts: GateVerdict[], isTrusted = false): BaselineGate {
    return new BaselineGate({
      region: 'eu',
      source: 'us',
      isTrusted,
      reader: async () => await log.reader('us'),
      onVerdict: (verdict) => verdicts.push(verdict),
    });
  }

  const run = (number: number): LogRecord =>
    runRecord({ region_id: 'us', run: number, epoch: '1000000000000000000', opened_at: '', forked_at: null });

  test('opens once the source says what it held, and goes by the latest that counts', async () => {
    const wrong = baselineRecord(1, saying({ tables: [tableOf(1)] }));
    const log = await streamOf([run(1), wrong, run(2)]);
    const verdicts: GateVerdict[] = [];
    const gate = gateOf(log, verdicts);
    gate.know({ kind: 'known', tables: [tableOf(3)] });
    const stop = new AbortController();
    const watching = gate.watch(stop.signal);
    await waitFor(() => gate.verdict.kind === 'refused', { what: 'the gate to be refused' });
    // A run that was replaced has no say.
    const writer = await log.writer('us');
    await writer.append([baselineRecord(1, saying({ tables: [tableOf(3)] })), run(3)]);
    await writer.append([baselineRecord(3, saying({ tables: [tableOf(3)] }))]);
    await watching;
    assert.deepEqual(
      verdicts.map(({ kind }) => kind),
      ['refused', 'equal'],
    );
    stop.abort();
  });

  test('does not ask again for what was joined before, nor for what is trusted', async () => {
    const log = await streamOf([run(1)]);
    const verdicts: GateVerdict[] = [];
    const joined = gateOf(log, verdicts);
    assert.equal(isOpen(joined.verdict), false);
    joined.joined();
    await joined.watch(new AbortController().signal);
    joined.know({ kind: 'untold', reason: 'x' });
    const trusted = gateOf(log, verdicts, true);
    await trusted.watch(new AbortController().signal);
    assert.equal(isOpen(trusted.verdict), false, 'before the own stream begins nothing is applied');
    trusted.know({ kind: 'unread' });
    assert.deepEqual(
      verdicts.map(({ kind }) => kind),
      ['joined', 'trusted'],
    );
  });

  test('waits no longer once it is told to end', async () => {
    const stop = new AbortController();
    const watching = gateOf(await streamOf([run(1)]), []).watch(stop.signal);
    stop.abort();
    await watching;
  });
});

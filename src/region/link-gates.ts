/** The gates of this region's links, as its configuration wants them; what they decide is logged. */
import { type GateVerdict, isOpen } from '../apply/lane/baseline-gate.ts';
import { BaselineGates } from '../apply/lane/baseline-gates.ts';
import type { EventLog } from '../log/event-log.ts';
import { linkBaseline } from '../monitor/baseline-view.ts';
import type { Config } from '../platform/config.ts';
import type { Logger } from '../platform/logger.ts';

export function makeGates(
  { region, peers, baseline }: Pick<Config, 'region' | 'peers' | 'baseline'>,
  logger: Logger,
  logOf: (source: string) => EventLog,
): BaselineGates {
  return new BaselineGates({
    region,
    peers: peers.map((peer) => ({
      region: peer.region,
      isTrusted: baseline === 'trust' || peer.baseline === 'trust',
    })),
    logOf,
    onVerdict: (source, verdict) => tell(logger, source, verdict),
    onFault: (source, err) => logger.warn({ source, err }, 'the baseline of a region cannot be read yet'),
  });
}

function tell(logger: Logger, source: string, verdict: GateVerdict): void {
  const { state, detail } = linkBaseline(verdict);
  const says = { source, state, detail };
  if (verdict.kind === 'refused') logger.error({ ...says, code: verdict.code }, 'the link is not joined');
  else if (verdict.kind === 'trusted') logger.warn(says, 'the link is joined unseen');
  else logger.info(says, isOpen(verdict) ? 'the link is joined' : 'the link waits for a baseline');
}

// What doctor looks at where streams are in Kafka: the brokers, the topics of the region, and what its user
// may do; of a peer's cluster, whether it lets this region in. Nothing is made or changed.

import { type CheckCode, isCheckCode } from '../monitor/checks/check-list.ts';
import type { Finding } from '../monitor/checks/finding.ts';
import type { Config } from '../platform/config.ts';
import { ERRORS, type SynclineError } from '../platform/errors.ts';

export async function checkKafkaLogs({ region, log, peers }: Config): Promise<Finding[]> {
  if ([log, ...peers.map((peer) => peer.log)].every((each) => each?.type !== 'kafka')) return [];
  const { checkKafka, checkKafkaOfPeer } = await import('../log/kafka/kafka-check.ts');
  const own = log.type === 'kafka' ? await checkKafka(log, region) : [];
  const findings = own.map(({ severity, error }) => findingOf(error, severity));
  for (const peer of peers) {
    if (peer.log?.type !== 'kafka') continue;
    const error = await checkKafkaOfPeer({ compression: 'none', keep_hours: 1, ...peer.log }, peer.region);
    if (error !== null) findings.push(findingOf(error, 'warning'));
  }
  return findings;
}

function findingOf(error: SynclineError, severity: Finding['severity']): Finding {
  const code: CheckCode = isCheckCode(error.code) ? error.code : 'SYN-L060';
  return { code, severity, what: error.detail, why: ERRORS[code].cause, fix: `# ${error.remedy}` };
}

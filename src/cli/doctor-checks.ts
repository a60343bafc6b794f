// What doctor looks at besides the database: the folder of the log, the address of the API, the peers.
// Each is tried, as the agent would use it, and left as it was.

import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { userInfo } from 'node:os';
import { dirname } from 'node:path';
import { isCheckCode } from '../monitor/checks/check-list.ts';
import type { Finding } from '../monitor/checks/finding.ts';
import { findProblems } from '../monitor/checks/prerequisites.ts';
import { type Config, parseListen } from '../platform/config.ts';
import { ERRORS, SynclineError } from '../platform/errors.ts';
import { connect } from '../platform/postgres.ts';
import { checkKafkaLogs } from './doctor-kafka.ts';

const PROBE_LIMIT_MS = 3_000;

/** What can be found out about a region from here, but for how it compares with others. */
export async function examine(config: Config): Promise<Finding[]> {
  const parts = await Promise.all([
    checkDatabase(config),
    checkLog(config),
    checkKafkaLogs(config),
    checkAddress(config),
    checkPeers(config),
  ]);
  return parts.flat();
}

/** Errors first. */
export const sorted = (findings: readonly Finding[]): Finding[] =>
  (['error', 'warning', 'info'] as const).flatMap((severity) => findings.filter((each) => each.severity === severity));

async function checkDatabase(config: Config): Promise<Finding[]> {
  try {
    await using client = await connect(config.database, { applicationName: 'syncline doctor' });
    return await findProblems(client, config);
  } catch (error) {
    if (!(error instanceof SynclineError) || !isCheckCode(error.code)) throw error;
    const { code, detail, remedy } = error;
    return [{ code, severity: 'error', what: detail, why: ERRORS[code].cause, fix: `# ${remedy}` }];
  }
}

/** The agent makes the folder, so the nearest one that exists has to let it. */
async function checkLog({ log }: Config): Promise<Finding[]> {
  if (log.type !== 'embedded') return [];
  let folder = log.path;
  for (;;) {
    try {
      await access(folder, constants.R_OK | constants.W_OK | constants.X_OK);
      if ((await stat(folder)).isDirectory()) return [];
      return [unusable(log.path, `${folder} is no folder`)];
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : 'error';
      const parent = dirname(folder);
      if (code !== 'ENOENT' || parent === folder) return [unusable(log.path, `${folder}: ${code}`)];
      folder = parent;
    }
  }
}

function unusable(path: string, what: string): Finding {
  return {
    code: 'SYN-L002',
    severity: 'error',
    what: `The folder of the log, ${path}, cannot be used: ${what}.`,
    why: 'Changes are kept there until all regions have them.',
    fix: `# as root: install -d -o ${userName()} ${shellQuoted(path)}\n# or in the configuration: log: { path: <another folder> }`,
  };
}

/** Its number where it has no name, as in a container that runs under any user. */
function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return String(process.getuid?.());
  }
}

const shellQuoted = (text: string): string => (/^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

async function checkAddress(config: Config): Promise<Finding[]> {
  const { listen } = config.api;
  const { host, port } = parseListen(listen);
  const taken = await whyNot(host, port);
  if (taken === null) return [];
  if (taken === 'EADDRINUSE' && (await regionAt(`http://${urlHost(host)}:${port}`)) === config.region) {
    return [
      {
        code: 'SYN-K005',
        severity: 'info',
        what: `The agent of ${config.region} is running at ${listen}.`,
        why: 'Only one agent may serve a region.',
        fix: '# none is needed',
      },
    ];
  }
  return [
    {
      code: 'SYN-T006',
      severity: 'error',
      what: `The address of the API, ${listen}, cannot be had: ${taken}.`,
      why: 'The agent listens there before it does anything else.',
      fix: `# stop the process that holds it\n# or in the configuration: api: { listen: "${urlHost(host)}:${await freePort()}" }`,
    },
  ];
}

/** Null where the address can be bound now. */
async function whyNot(host: string, port: number): Promise<string | null> {
  const probe = createServer();
  const { promise, resolve } = Promise.withResolvers<string | null>();
  probe.once('error', (error) => resolve('code' in error ? String(error.code) : error.message));
  probe.listen({ host, port, exclusive: true }, () => probe.close(() => resolve(null)));
  return await promise;
}

async function freePort(): Promise<number> {
  const probe = createServer();
  const { promise, resolve } = Promise.withResolvers<number>();
  probe.listen({ host: '127.0.0.1', port: 0 }, () => {
    const address = probe.address();
    probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
  });
  return await promise;
}

async function checkPeers({ region, peers }: Config): Promise<Finding[]> {
  if (peers.length === 0) {
    return [
      {
        code: 'SYN-C008',
        severity: 'warning',
        what: `No other region is configured for ${region}.`,
        why: 'Changes are published, and nobody applies them.',
        fix: '# in the configuration: peers: [{ region: <name> }], all other regions',
      },
    ];
  }
  const findings = await Promise.all(
    peers.map(async ({ region: peer, api, log }): Promise<Finding[]> => {
      const found: Finding[] = [];
      if (log?.type === 'embedded' && !(await exists(log.path))) found.push(noLog(peer, log.path));
      if (api === undefined) return found;
      const answers = await regionAt(api);
      if (answers === null) found.push(silent(peer, api));
      else if (answers !== peer) found.push(another(peer, api, answers));
      return found;
    }),
  );
  return findings.flat();
}

const noLog = (peer: string, path: string): Finding => ({
  code: 'SYN-L002',
  severity: 'warning',
  what: `The folder of the log of ${peer}, ${path}, is not there.`,
  why: 'Nothing of that region can be applied until it is.',
  fix: `# start the agent of ${peer}, or correct peers[].log.path in the configuration`,
});

const silent = (peer: string, api: string): Finding => ({
  code: 'SYN-T007',
  severity: 'info',
  what: `The agent of ${peer} does not answer at ${api}.`,
  why: 'Nothing was compared with it. Replication does not need its API.',
  fix: `# start the agent of ${peer}, or correct peers[].api in the configuration`,
});

const another = (peer: string, api: string, region: string): Finding => ({
  code: 'SYN-C007',
  severity: 'error',
  what: `At ${api}, the address of ${peer}, the agent of ${region} answers.`,
  why: 'Operators would be sent to the wrong agent, and names of regions may be mixed up elsewhere too.',
  fix: `# in the configuration: correct peers[].region or peers[].api`,
});

/** The region whose agent answers; null where none does. */
async function regionAt(api: string): Promise<string | null> {
  try {
    const answer = await fetch(`${api.replace(/\/+$/, '')}/healthz`, { signal: AbortSignal.timeout(PROBE_LIMIT_MS) });
    const { region } = (await answer.json()) as { region?: unknown };
    return typeof region === 'string' ? region : null;
  } catch {
    return null;
  }
}

const exists = async (path: string): Promise<boolean> =>
  await stat(path).then(
    () => true,
    () => false,
  );

const urlHost = (host: string): string => (host.includes(':') ? `[${host}]` : host);

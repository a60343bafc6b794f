// Comparing regions: their databases directly where several configurations are given, else this region's
// database with what the agents of its peers say of theirs.
//
// Each is compared with the first, whose definitions are taken for right; sequences and clocks with every
// other one. A region that cannot be asked is told, since "nothing differs" must not mean "nobody looked".

import Type, { type Static } from 'typebox';
import { Clock, RegionPortrait } from '../api/schemas.ts';
import { compareRedaction } from '../monitor/checks/compare-redaction.ts';
import { compareClocks, compareSequences, compareServers } from '../monitor/checks/compare-servers.ts';
import { compareTables } from '../monitor/checks/compare-tables.ts';
import { compareTypes } from '../monitor/checks/compare-types.ts';
import type { Finding } from '../monitor/checks/finding.ts';
import { type Portrait, parsePortrait, readPortrait } from '../monitor/checks/portrait.ts';
import { type ClockOffset, measureOffset, serverTimeMs } from '../monitor/clock-offset.ts';
import type { Config } from '../platform/config.ts';
import { SynclineError, sqlStateOf } from '../platform/errors.ts';
import { connect } from '../platform/postgres.ts';
import { type ApiText, readApiText } from './api-text.ts';

// Agents of earlier versions do not tell what they withhold.
const { redact, ...always } = RegionPortrait.properties;
const ToldPortrait = Type.Object({ ...always, redact: Type.Optional(redact) });
const ToldTime = Type.Object({ now_ms: Clock.properties.now_ms });

type Seen = { readonly portrait: Portrait; readonly clock: ClockOffset };
type Peer = Config['peers'][number];

/** Of regions whose databases can be reached from here. */
export async function compareDatabases(configs: readonly Config[]): Promise<Finding[]> {
  const seen = await Promise.all(configs.map((config) => tried(config.region, () => seeDatabase(config))));
  return [...seen.flatMap(unseen), ...compared(seen.flatMap(found), driftLimit(configs))];
}

/** Of one region with its peers, as far as their agents answer. One that is silent is told of elsewhere. */
export async function comparePeers(config: Config): Promise<Finding[]> {
  const unknown = config.peers.filter(({ api }) => api === undefined).map(({ region }) => region);
  const asked = config.peers.filter(({ api }) => api !== undefined);
  const peers = await Promise.all(asked.map((peer) => tried(peer.region, () => seeAgent(peer))));
  const findings = [
    ...(unknown.length === 0 ? [] : [notCompared(unknown.join(', '), null)]),
    ...peers.filter((each) => 'seen' in each || each.hasAnswered).flatMap(unseen),
  ];
  const others = peers.flatMap(found);
  if (others.length === 0) return findings;
  const own = await tried(config.region, () => seeDatabase(config));
  return [...findings, ...compared([...found(own), ...others], driftLimit([config]))];
}

function compared(regions: readonly Seen[], driftLimitMs: number): Finding[] {
  const findings: Finding[] = [];
  for (const [place, one] of regions.entries()) {
    for (const other of regions.slice(place + 1)) {
      if (place === 0) {
        for (const compare of [compareTables, compareTypes, compareServers, compareRedaction]) {
          findings.push(...compare(one.portrait, other.portrait));
        }
      }
      findings.push(...compareSequences(one.portrait, other.portrait));
      const clocks = [one, other].map(({ portrait, clock }) => ({ region: portrait.region, clock }));
      const [a, b] = clocks as [(typeof clocks)[0], (typeof clocks)[0]];
      findings.push(...compareClocks(a, b, driftLimitMs));
    }
  }
  return findings;
}

const driftLimit = (configs: readonly Config[]): number =>
  Math.min(...configs.map(({ limits }) => limits.max_clock_drift_ms));

async function seeDatabase(config: Config): Promise<Seen> {
  await using client = await connect(config.database, { applicationName: 'syncline doctor' });
  return {
    portrait: await readPortrait(client, config),
    clock: await measureOffset(async () => await serverTimeMs(client)),
  };
}

async function seeAgent({ region, api = '', token }: Peer): Promise<Seen> {
  const ask: ApiText = { url: api, token };
  const portrait = parsePortrait(await readApiText(ask, '/region', ToldPortrait));
  const clock = await measureOffset(async () => {
    const { now_ms } = JSON.parse(await readApiText(ask, '/region/clock', ToldTime)) as Static<typeof ToldTime>;
    return now_ms;
  });
  return { portrait: { ...portrait, region }, clock };
}

type Tried = { readonly region: string } & (
  | { readonly seen: Seen }
  | { readonly reason: string; readonly hasAnswered: boolean }
);

async function tried(region: string, see: () => Promise<Seen>): Promise<Tried> {
  try {
    return { region, seen: await see() };
  } catch (error) {
    if (error instanceof SynclineError) {
      return { region, reason: error.detail, hasAnswered: error.context.status !== undefined };
    }
    if (sqlStateOf(error) === undefined || !(error instanceof Error)) throw error;
    return { region, reason: error.message, hasAnswered: true };
  }
}

const found = (each: Tried): Seen[] => ('seen' in each ? [each.seen] : []);
const unseen = (each: Tried): Finding[] => ('seen' in each ? [] : [notCompared(each.region, each.reason)]);

const notCompared = (region: string, reason: string | null): Finding => ({
  code: 'SYN-P049',
  severity: 'info',
  what: `Nothing was compared with ${region}${reason === null ? '' : `: ${reason}`}.`,
  why: 'Tables that are defined differently, clocks and sequences that clash show only when regions are compared.',
  fix: '# syncline doctor -c <this region> -c <that region> compares their databases; with peers[].api, agents that run are asked',
});

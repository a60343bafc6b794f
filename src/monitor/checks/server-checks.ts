// Whether the server can serve a region: its version and the settings that take a restart to change.
//
// What is counted is what is free: a setting may be high and used up by others. What this region
// holds already is counted as free, so that an agent can always start again.

import { captureName } from '../../capture/tables/publication.ts';
import type { Config } from '../../platform/config.ts';
import { OWN_ORIGIN_PREFIX } from '../../platform/own-origins.ts';
import type { PostgresClient } from '../../platform/postgres.ts';
import type { Finding } from './finding.ts';
import { STANDBYS_AWAY, standbysAway } from './standby-watch.ts';

const VERSION_MIN = 14;
const VERSION_MAX = 18;
/** The agent reports to the server once a second; below this a moment's pause looks like a death. */
const WAL_SENDER_TIMEOUT_MIN_MS = 5_000;

const SQL = `
select json_build_object(
  'version_num', current_setting('server_version_num')::int,
  'version', current_setting('server_version'),
  'in_recovery', pg_is_in_recovery(),
  'wal_level', current_setting('wal_level'),
  'track_commit_timestamp', current_setting('track_commit_timestamp'),
  'encoding', pg_encoding_to_char((select encoding from pg_database where datname = current_database())),
  'slots_max', current_setting('max_replication_slots')::int,
  'slots_used', (select count(*) from pg_replication_slots where slot_name <> $1),
  'senders_max', current_setting('max_wal_senders')::int,
  'senders_used', (select count(*) from pg_stat_replication r left join pg_replication_slots s on s.active_pid = r.pid
                    where s.slot_name is distinct from $1),
  'origins_max', coalesce(current_setting('max_active_replication_origins', true),
                          current_setting('max_replication_slots'))::int,
  'origins_used', (select count(*) from pg_replication_origin where not starts_with(roname, ${OWN_ORIGIN_PREFIX})),
  'sender_timeout_ms', (select setting::bigint from pg_settings where name = 'wal_sender_timeout'),
  'slot_wal_keep_mb', (select setting::bigint from pg_settings where name = 'max_slot_wal_keep_size'),
  'idle_slot_timeout', current_setting('idle_replication_slot_timeout', true),
  'standbys_away', (${STANDBYS_AWAY}),
  'idle_slot_timeout_set', (select setting <> '0' from pg_settings where name = 'idle_replication_slot_timeout')
)`;

type Server = {
  readonly version_num: number;
  readonly version: string;
  readonly in_recovery: boolean;
  readonly wal_level: string;
  readonly track_commit_timestamp: string;
  readonly encoding: string;
  readonly slots_max: number;
  readonly slots_used: number;
  readonly senders_max: number;
  readonly senders_used: number;
  readonly origins_max: number;
  readonly origins_used: number;
  readonly sender_timeout_ms: number;
  readonly slot_wal_keep_mb: number;
  readonly idle_slot_timeout: string | null;
  readonly idle_slot_timeout_set: boolean | null;
  /** Slots of standbys that logical slots wait for (17 and later), and that nobody uses. */
  readonly standbys_away: readonly string[];
};

const RESTART = '-- as a superuser; then restart PostgreSQL';
const RELOAD = 'select pg_reload_conf();';

export async function checkServer(client: PostgresClient, config: Config): Promise<Finding[]> {
  const { rows } = await client.queryArrays(SQL, [captureName(config.region)]);
  const server = JSON.parse(rows[0]?.[0] ?? '') as Server;
  return [
    ...versionFindings(server),
    ...settingFindings(server),
    ...capacityFindings(server, config),
    ...retentionFindings(server),
    ...standbyFindings(server),
    ...encodingFindings(server),
  ];
}

function versionFindings(server: Server): Finding[] {
  const major = Math.floor(server.version_num / 10_000);
  const findings: Finding[] = [];
  if (major < VERSION_MIN || major > VERSION_MAX) {
    findings.push({
      code: 'SYN-P007',
      severity: 'error',
      what: `The server is PostgreSQL ${server.version}.`,
      why: `Syncline is proven on PostgreSQL ${VERSION_MIN} to ${VERSION_MAX}; others decode or apply differently.`,
      fix: `-- upgrade the server to PostgreSQL ${VERSION_MAX}, or move the database to one`,
    });
  }
  if (server.in_recovery) {
    findings.push({
      code: 'SYN-P014',
      severity: 'error',
      what: 'The server is a standby in recovery.',
      why: 'A standby takes no writes, so nothing can be applied here.',
      fix: '# in the configuration: point `database` at the primary',
    });
  }
  return findings;
}

function settingFindings(server: Server): Finding[] {
  const findings: Finding[] = [];
  if (server.wal_level !== 'logical') {
    findings.push({
      code: 'SYN-P001',
      severity: 'error',
      what: `wal_level is ${server.wal_level}.`,
      why: 'Only at the level logical does the WAL hold what changes are decoded from. (Amazon RDS and Aurora: set rds.logical_replication to 1 in the parameter group.)',
      fix: `${RESTART}\nalter system set wal_level = 'logical';`,
    });
  }
  if (server.track_commit_timestamp !== 'on') {
    findings.push({
      code: 'SYN-P002',
      severity: 'error',
      what: 'track_commit_timestamp is off.',
      why: "The commit timestamp of a row's last writer is its version: without it nobody can tell which of two writes is newer.",
      fix: `${RESTART}\nalter system set track_commit_timestamp = on;`,
    });
  }
  if (server.sender_timeout_ms === 0 || server.sender_timeout_ms < WAL_SENDER_TIMEOUT_MIN_MS) {
    const off = server.sender_timeout_ms === 0;
    findings.push({
      code: 'SYN-P018',
      severity: 'warning',
      what: off ? 'wal_sender_timeout is off.' : `wal_sender_timeout is ${server.sender_timeout_ms} ms.`,
      why: off
        ? 'The connection of an agent that vanished would hold the slot until somebody ends it by hand.'
        : 'A healthy agent that pauses for a moment would be cut off.',
      fix: `-- as a superuser\nalter system set wal_sender_timeout = '60s';\n${RELOAD}`,
    });
  }
  return findings;
}

/** The region needs one slot and one sender, and an origin for each peer and for itself unless it does without. */
function capacityFindings(server: Server, config: Config): Finding[] {
  const findings: Finding[] = [];
  const shortOf = (what: string, setting: string, used: number, max: number, needed: number): void => {
    if (used + needed <= max) return;
    findings.push({
      code: 'SYN-P003',
      severity: 'error',
      what: `${what}: others use ${used} of ${max}, and this region needs ${needed}.`,
      why: 'Capture holds one slot and one WAL sender, and each origin whose changes are applied needs a replication origin.',
      fix: `${RESTART}\nalter system set ${setting} = ${Math.max(10, used + needed + 5)};`,
    });
  };
  const origins = config.apply.replication_origins ? config.peers.length + 1 : 0;
  const originSetting = server.version_num >= 180_000 ? 'max_active_replication_origins' : 'max_replication_slots';
  shortOf('Replication slots', 'max_replication_slots', server.slots_used, server.slots_max, 1);
  shortOf('WAL senders', 'max_wal_senders', server.senders_used, server.senders_max, 1);
  shortOf('Replication origins', originSetting, server.origins_used, server.origins_max, origins);
  return findings;
}

function retentionFindings(server: Server): Finding[] {
  const findings: Finding[] = [];
  const why =
    'A slot that the server drops while the agent is away loses changes: rows that were written are missed elsewhere.';
  if (server.idle_slot_timeout_set === true) {
    findings.push({
      code: 'SYN-P019',
      severity: 'warning',
      what: `idle_replication_slot_timeout is ${server.idle_slot_timeout}.`,
      why,
      fix: `-- as a superuser\nalter system set idle_replication_slot_timeout = 0;\n${RELOAD}`,
    });
  }
  if (server.slot_wal_keep_mb >= 0) {
    findings.push({
      code: 'SYN-P019',
      severity: 'warning',
      what: `max_slot_wal_keep_size is ${server.slot_wal_keep_mb} MB.`,
      why: `${why} Without the limit, a long absence can fill the disk instead: watch syncline_slot_retained_bytes.`,
      fix: `-- as a superuser\nalter system set max_slot_wal_keep_size = -1;\n${RELOAD}`,
    });
  }
  return findings;
}

function standbyFindings({ standbys_away }: Server): Finding[] {
  if (standbys_away.length === 0) return [];
  return [
    {
      code: 'SYN-P055',
      severity: 'error',
      what: standbysAway(standbys_away),
      why: 'The server sends nothing to capture until every standby that is named there has it.',
      fix: `-- as a superuser; or bring back the standby\nalter system reset synchronized_standby_slots;\n${RELOAD}`,
    },
  ];
}

function encodingFindings({ encoding }: Server): Finding[] {
  if (encoding === 'UTF8') return [];
  const unknown = encoding === 'SQL_ASCII';
  return [
    {
      code: 'SYN-P020',
      severity: unknown ? 'error' : 'warning',
      what: `The encoding of the database is ${encoding}.`,
      why: unknown
        ? 'SQL_ASCII says nothing about the bytes of a text, so it cannot be carried to another region unharmed.'
        : 'Texts of other regions with characters that it lacks cannot be applied here, and go to the quarantine.',
      fix: "-- restore a dump into a new database, made with: create database <name> encoding 'UTF8' template template0",
    },
  ];
}

/**
 * Which PostgreSQL a test runs on.
 *
 * A test that needs a certain major version names it. All others leave it open and get the newest; SYNCLINE_POSTGRES
 * (14, 15 …) puts another one there, so that the same tests prove Syncline on each version that it supports
 * (scripts/test-matrix.ts runs them on all). What depends on the version most, decoding and applying, is tested on
 * two in every run: on the newest, and on 15, the first with the grants that spare a superuser.
 */
import { POSTGRES_MAJORS, type PostgresMajor } from '../../src/platform/servers/postgres-binaries.ts';

const NEWEST: PostgresMajor = 18;
/** 14 comes from npm for that platform alone. */
export const OLDEST: PostgresMajor = process.platform === 'linux' && process.arch === 'x64' ? 14 : 15;

const asked = process.env.SYNCLINE_POSTGRES ?? '';
const found = POSTGRES_MAJORS.find((major) => String(major) === asked);
if (found === undefined && asked !== '') {
  throw new Error(`SYNCLINE_POSTGRES is ${asked}; there are ${POSTGRES_MAJORS.join(', ')}`);
}

/** The version of every server whose test does not name one. */
export const DEFAULT_MAJOR: PostgresMajor = found ?? NEWEST;

/** The versions that contract tests run on; only the one that was asked for, where one was. */
export const CONTRACT_MAJORS: readonly PostgresMajor[] = found === undefined ? [15, NEWEST] : [found];

/** The setting that bounds replication origins on that version. */
export const ORIGINS_MAX = DEFAULT_MAJOR >= 18 ? 'max_active_replication_origins' : 'max_replication_slots';

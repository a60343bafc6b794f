// Real PostgreSQL servers for tests: the embedded ones, with settings that suit many short tests.
//
//   await using server = await PostgresServer.start();
//   const url = server.url(await server.createDatabase());

import { EmbeddedPostgres, type PostgresSettings } from '../../src/platform/servers/embedded-postgres.ts';
import type { PostgresMajor } from '../../src/platform/servers/postgres-binaries.ts';
import { DEFAULT_MAJOR } from './postgres-majors.ts';

export type PostgresServer = EmbeddedPostgres;

// Autovacuum and checkpoints are left on: what they do to rows and slots is part of the proof.
const TEST_SETTINGS: PostgresSettings = {
  // A forgotten lock or a paused reader shows as an error within the limit of a test.
  deadlock_timeout: '200ms',
  wal_sender_timeout: '30s',
  log_line_prefix: '%m [%p] %a ',
};

export const PostgresServer = {
  start(options: { version?: PostgresMajor; settings?: PostgresSettings } = {}): Promise<PostgresServer> {
    const settings = { ...TEST_SETTINGS, ...options.settings };
    return EmbeddedPostgres.start({ version: options.version ?? DEFAULT_MAJOR, settings });
  },
};

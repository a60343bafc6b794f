// Databases with one fault each, for the tests of doctor: a healthy database and role are cheap copies,
// and the statements that a finding prints are run as they are printed.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { parse } from 'yaml';
import { CHECKS } from '../../src/monitor/checks/check-list.ts';
import type { Finding } from '../../src/monitor/checks/finding.ts';
import { findProblems } from '../../src/monitor/checks/prerequisites.ts';
import { type Config, parseConfig } from '../../src/platform/config.ts';
import { connect, type PostgresClient } from '../../src/platform/postgres.ts';
import type { PostgresMajor } from '../../src/platform/servers/postgres-binaries.ts';
import { PostgresServer } from './postgres-server.ts';

const NAME = { applicationName: 'syncline test' };
const PASSWORD = 'clinic';
const IN_CONFIG = /^# (?:or )?in the configuration: (.*)$/m;

/** Takes the right to write as a replica from a patient's role. */
export const revokeReplicaRole = (version: PostgresMajor): string =>
  version >= 15
    ? 'revoke set on parameter session_replication_role from $me'
    : 'revoke execute on function syncline.write_as_replica(boolean) from $me';

const ORIGIN_GRANTS = `
  select format('grant execute on function %s to public', oid::regprocedure) as sql from pg_proc
   where pronamespace = 'pg_catalog'::regnamespace and proname like 'pg\\_replication\\_origin\\_%'`;

export class Clinic implements AsyncDisposable {
  readonly #server: PostgresServer;
  readonly #admin: PostgresClient;

  private constructor(server: PostgresServer, admin: PostgresClient) {
    this.#server = server;
    this.#admin = admin;
  }

  static async open(server: PostgresServer): Promise<Clinic> {
    const admin = await connect(server.url(), NAME);
    await admin.query('create database healthy');
    await using healthy = await connect(server.url('healthy'), NAME);
    const { rows } = await healthy.query(ORIGIN_GRANTS);
    for (const row of rows) await healthy.query(String(row.sql));
    await healthy.query('grant create, usage on schema public to public');
    return new Clinic(server, admin);
  }

  /** A patient: a database that a role of its own owns, with nothing wrong. */
  async admit(options: { encoding?: string; icu?: string } = {}): Promise<Patient> {
    const name = `p${randomBytes(5).toString('hex')}`;
    await this.#admin.query(`create role ${name} login replication password '${PASSWORD}'`);
    const { encoding, icu } = options;
    const template =
      icu !== undefined
        ? `template0 locale_provider icu icu_locale '${icu}' locale 'C' encoding 'UTF8'`
        : encoding !== undefined
          ? `template0 encoding '${encoding}' locale 'C'`
          : 'healthy';
    await this.#admin.query(`create database ${name} owner ${name} template ${template}`);
    const admin = await connect(this.#server.url(name), NAME);
    const patient = new Patient(name, this.#server.url(name, { user: name, password: PASSWORD }), admin);
    await patient.grantReplicaRole();
    return patient;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#admin.end();
  }
}

/** A clinic on a server of its own, and a folder for what patients' agents keep. */
export class OpenClinic implements AsyncDisposable {
  readonly server: PostgresServer;
  readonly clinic: Clinic;
  readonly folder: string;

  private constructor(server: PostgresServer, clinic: Clinic, folder: string) {
    this.server = server;
    this.clinic = clinic;
    this.folder = folder;
  }

  static async start(settings: Readonly<Record<string, string>> = {}): Promise<OpenClinic> {
    const server = await PostgresServer.start({ settings: { fsync: 'off', ...settings } });
    return new OpenClinic(server, await Clinic.open(server), await mkdtemp(join(tmpdir(), 'syncline-clinic-')));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.clinic[Symbol.asyncDispose]();
    await this.server[Symbol.asyncDispose]();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Opens one before the tests of a file and closes it behind them. */
export function clinicForAll(settings: Readonly<Record<string, string>> = {}): () => OpenClinic {
  let open: OpenClinic | undefined;
  before(async () => {
    open = await OpenClinic.start(settings);
  });
  after(async () => await open?.[Symbol.asyncDispose]());
  return () => open ?? assert.fail('the clinic is open while tests run');
}

export class Patient implements AsyncDisposable {
  /** Of the database and of its role. */
  readonly name: string;
  readonly url: string;
  readonly admin: PostgresClient;
  config: Config;

  constructor(name: string, url: string, admin: PostgresClient) {
    this.name = name;
    this.url = url;
    this.admin = admin;
    this.config = configOf(name, url);
  }

  /** Runs statements as the role, `$me` standing for its name. */
  async asOwner(...statements: readonly string[]): Promise<void> {
    await using client = await connect(this.url, NAME);
    await this.#run(client, statements);
  }

  async asSuperuser(...statements: readonly string[]): Promise<void> {
    await this.#run(this.admin, statements);
  }

  async findings(): Promise<Finding[]> {
    await using client = await connect(this.url, NAME);
    const found = await findProblems(client, this.config);
    for (const { code, severity, what } of found) {
      const levels: readonly string[] = CHECKS[code].levels;
      assert.ok(levels.includes(severity), `${code} is listed as ${levels.join(', ')}, and is ${severity}: ${what}`);
    }
    return found;
  }

  /** The one right that the role needs besides owning its database; how it is given differs with the version. */
  async grantReplicaRole(): Promise<void> {
    for (const { code, fix } of await this.findings()) if (code === 'SYN-P005') await this.mend(fix);
  }

  /**
   * Runs what is printed, statement by statement, as psql does. Comments say who may; a superuser may. What only the
   * configuration mends is changed there.
   */
  async mend(fix: string): Promise<void> {
    if (fix.split('\n').every((line) => /^(--|#)/.test(line)) && IN_CONFIG.test(fix)) this.configure(fix);
    const lines = fix.split('\n').filter((line) => !/^(--|#)/.test(line));
    for (const statement of lines) await this.admin.query(statement);
  }

  /** Takes what a finding offers in the configuration: other names to include, more to exclude. */
  configure(fix: string): void {
    const change = parse(IN_CONFIG.exec(fix)?.[1] ?? '') as { tables: { include?: string[]; exclude?: string[] } };
    const { include, exclude } = this.config.tables;
    const tables = {
      include: change.tables.include ?? include,
      exclude: [...exclude, ...(change.tables.exclude ?? [])],
    };
    this.config = { ...this.config, tables };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.admin.end();
  }

  async #run(client: PostgresClient, statements: readonly string[]): Promise<void> {
    for (const statement of statements) await client.query(statement.replaceAll('$me', this.name));
  }
}

const configOf = (region: string, database: string): Config =>
  parseConfig(JSON.stringify({ region, database, peers: [{ region: 'us' }] }), {});

/** Of a region in the server's own database, served by the superuser. */
export const configFor = (server: PostgresServer): Config => configOf('eu', server.url());

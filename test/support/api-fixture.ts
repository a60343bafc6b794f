// The API on a database of its own, with an agent that a test sets by hand.

import assert from 'node:assert/strict';
import type { TSchema } from 'typebox';
import { Check, Errors } from 'typebox/value';
import { ProblemDocument } from '../../src/api/schemas.ts';
import { ApiServer } from '../../src/api/server.ts';
import { type Config, parseConfig } from '../../src/platform/config.ts';
import { migrate } from '../../src/platform/migrations.ts';
import { connect, type PostgresClient } from '../../src/platform/postgres.ts';
import { LinkStore } from '../../src/topology/link-store.ts';
import { FakeAgent } from './fake-agent.ts';
import type { PostgresServer } from './postgres-server.ts';

export type Json = Record<string, unknown>;
export type Answer = { readonly status: number; readonly type: string; readonly body: Json; readonly headers: Headers };

export type CallOptions = {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Instead of a body: is sent as JSON. */
  readonly json?: unknown;
};

const PROBLEM = 'application/problem+json; charset=utf-8';

export class ApiFixture implements AsyncDisposable {
  readonly url: string;
  readonly client: PostgresClient;
  readonly store: LinkStore;
  readonly agent: FakeAgent;
  readonly api: ApiServer;

  private constructor(url: string, client: PostgresClient, store: LinkStore, agent: FakeAgent, api: ApiServer) {
    this.url = url;
    this.client = client;
    this.store = store;
    this.agent = agent;
    this.api = api;
  }

  /** `change` goes over the configuration; `starting` leaves the API without its agent. */
  static async start(server: PostgresServer, change: Json = {}, starting = false): Promise<ApiFixture> {
    const url = server.url(await server.createDatabase());
    const client = await connect(url, { applicationName: 'syncline test' });
    await migrate(client);
    const store = new LinkStore(client, 'eu');
    await store.open(['us', 'ap']);
    const agent = new FakeAgent(store);
    const api = await ApiServer.start(configOf(url, change));
    if (!starting) api.serve(agent);
    return new ApiFixture(url, client, store, agent, api);
  }

  async call(path: string, options: CallOptions = {}): Promise<Answer> {
    const { json, ...rest } = options;
    const answer = await fetch(this.api.url + path, {
      ...rest,
      ...(json === undefined ? {} : { method: rest.method ?? 'POST', body: JSON.stringify(json) }),
      headers: { ...(json === undefined ? {} : { 'content-type': 'application/json' }), ...rest.headers },
    });
    const text = await answer.text();
    const type = answer.headers.get('content-type') ?? '';
    const body = type.includes('json') ? (JSON.parse(text) as Json) : { text };
    return { status: answer.status, type, body, headers: answer.headers };
  }

  async patchLink(id: string, json: unknown): Promise<Answer> {
    return await this.call(`/topology/links/${id}`, { method: 'PATCH', json });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.api[Symbol.asyncDispose]();
    await this.store[Symbol.asyncDispose]();
    await this.client.end();
  }
}

export function configOf(database: string, change: Json = {}): Config {
  const peers = [{ region: 'us', api: 'http://us.example:7400' }, { region: 'ap' }];
  const config = { region: 'eu', database, api: { listen: '127.0.0.1:0' }, peers, ...change };
  return parseConfig(JSON.stringify(config), {});
}

export function assertFits(schema: TSchema, value: unknown): void {
  assert.ok(Check(schema, value), JSON.stringify([...Errors(schema, value)], null, 2));
}

export function assertProblem(answer: Answer, status: number, code: string): void {
  assert.deepEqual(
    [answer.status, answer.body.code, answer.type],
    [status, code, PROBLEM],
    JSON.stringify(answer.body),
  );
  assertFits(ProblemDocument, answer.body);
  assert.equal(answer.body.status, status);
}

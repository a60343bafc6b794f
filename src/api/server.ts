// The HTTP API of an agent.
//
// It listens before the agent starts, so that a taken address is found before a slot is, and so that
// probes get an answer while a long start goes on; until then everything but /healthz answers that
// the region is not ready. A database connection of its own reads lists, so that no request ever
// stands in the way of apply.
//
// Everything is bounded: connections, the size and the time of a request, the length of a list, and
// the number of statements that wait for the database.

import swagger from '@fastify/swagger';
import fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifySchemaCompiler,
  type FastifyServerOptions,
} from 'fastify';
import type { TSchema } from 'typebox';
import { Convert, Default } from 'typebox/value';
import type { AgentControl } from '../monitor/agent-status.ts';
import { type Config, parseListen } from '../platform/config.ts';
import { fail, isInfrastructure, SynclineError, sqlStateOf } from '../platform/errors.ts';
import type { Logger } from '../platform/logger.ts';
import { problemsOf } from '../platform/schema-problems.ts';
import { StandingConnection } from '../platform/standing-connection.ts';
import { Access, type Role } from './access.ts';
import type { ApiContext } from './api-context.ts';
import { addHealthRoutes } from './health-routes.ts';
import { addListRoutes } from './list-routes.ts';
import { addMergeRoutes } from './merge-routes.ts';
import { PROBLEM_TYPE, problemOf } from './problem.ts';
import { addRegionRoutes } from './region-routes.ts';
import { addTopologyRoutes } from './topology-routes.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Who may call the route; everybody where it is left out. */
    role?: Role;
  }
}

const BODY_BYTES_MAX = 128 * 1024;
const REQUEST_TIMEOUT_MS = 10_000;
const CONNECTIONS_MAX = 256;
const STATEMENT_TIMEOUT_MS = 10_000;
const KEEP_ALIVE_MS = 30_000;
const PARAMETER_LENGTH_MAX = 200;
const QUERY_CANCELED = '57014';

export class ApiServer implements AsyncDisposable {
  readonly #app: FastifyInstance;
  readonly #database: StandingConnection;
  #agent: AgentControl | undefined;

  private constructor(config: Config, logger: Logger | undefined) {
    this.#database = new StandingConnection(config.database, {
      applicationName: `syncline api ${config.region}`,
      statementTimeoutMs: STATEMENT_TIMEOUT_MS,
    });
    this.#app = makeApp(config, logger);
    const context: ApiContext = {
      config,
      database: this.#database,
      agent: () => {
        if (this.#agent === undefined) {
          throw fail('SYN-T011', 'the agent is starting', { context: { reasons: ['the agent is starting'] } });
        }
        return this.#agent;
      },
    };
    // Behind the registration of the plugin, which collects the routes that come after it.
    this.#app.after(() => {
      addTopologyRoutes(this.#app, context);
      addRegionRoutes(this.#app, context);
      addListRoutes(this.#app, context);
      addMergeRoutes(this.#app, context);
      addHealthRoutes(this.#app, context);
    });
  }

  /** Listens at `api.listen`; SYN-T006 where that is not possible. */
  static async start(config: Config, logger?: Logger): Promise<ApiServer> {
    const api = new ApiServer(config, logger);
    const { host, port } = parseListen(config.api.listen);
    try {
      await api.#app.listen({ host, port });
      api.#app.server.maxConnections = CONNECTIONS_MAX;
      return api;
    } catch (cause) {
      await api[Symbol.asyncDispose]();
      const why = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
      throw fail('SYN-T006', `${config.api.listen}: ${why}`, { cause });
    }
  }

  /** From here on the routes answer for this agent. */
  serve(agent: AgentControl): void {
    this.#agent = agent;
  }

  get url(): string {
    const address = this.#app.server.address();
    if (address === null || typeof address === 'string') return '';
    return `http://${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`;
  }

  /** Takes no more requests, and ends the connections that are open. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#app.close();
    await this.#database[Symbol.asyncDispose]();
  }
}

function makeApp(config: Config, logger: Logger | undefined): FastifyInstance {
  const access = new Access(config.api.tokens);
  const app = fastify({
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    routerOptions: { maxParamLength: PARAMETER_LENGTH_MAX },
    forceCloseConnections: true,
    schemaController: COMPILERS,
  });
  // The library would take text/plain too, which a page of another site may send without asking first.
  app.removeContentTypeParser('text/plain');
  app.addHook('onRequest', async (request) => {
    const { role } = request.routeOptions.config;
    if (role !== undefined) access.check(request.headers, role);
  });
  app.setNotFoundHandler(async (request) => {
    throw fail('SYN-T008', `${request.method} ${request.url.slice(0, 200)}`);
  });
  app.setErrorHandler<FastifyError>(async (error, request, reply) => {
    const known = withCode(error);
    if (known.code === 'SYN-T010')
      logger?.error({ err: error, method: request.method, url: request.url }, 'a request failed');
    if (known.code === 'SYN-T003') reply.header('www-authenticate', 'Bearer realm="syncline"');
    const problem = problemOf(known, request.url.slice(0, 200));
    return await reply.code(problem.status).type(PROBLEM_TYPE).send(JSON.stringify(problem));
  });
  app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Syncline agent', version: '1', description: 'The API of the agent of one region.' },
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
      security: [{ token: [] }],
    },
  });
  return app;
}

/** Checks a part of a request by its schema, and tells every field that is wrong. */
const validator: FastifySchemaCompiler<TSchema> = ({ schema, httpPart }) => {
  return (data: unknown) => {
    // Texts of a URL become numbers where the schema says so; a body says what it means.
    const value = httpPart === 'body' ? data : Convert(schema, data);
    const filled = Default(schema, value);
    const problems = problemsOf(schema, filled);
    if (problems.length === 0) return { value: filled };
    const detail = problems.map(({ path, message }) => `${path === '' ? (httpPart ?? 'request') : path}: ${message}`);
    return { error: fail('SYN-T005', detail.join('; '), { context: { problems } }) };
  };
};

/** The schemas of answers describe; they do not cut or convert. */
const serializer = () => (data: unknown) => JSON.stringify(data);

/**
 * Handed over with the start, so that the library does not even load the compilers that it would use, which take a good
 * part of an idle agent's memory. Its types know no others.
 */
const COMPILERS = {
  compilersFactory: { buildValidator: () => validator, buildSerializer: () => serializer },
} as unknown as NonNullable<FastifyServerOptions['schemaController']>;

/** Every error as one of the table. */
function withCode(error: FastifyError | SynclineError): SynclineError {
  if (error instanceof SynclineError) return error;
  const { statusCode } = error;
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return fail('SYN-T005', error.message, { cause: error, context: { status: statusCode } });
  }
  if (sqlStateOf(error) === QUERY_CANCELED) {
    return fail('SYN-T009', `the database took longer than ${STATEMENT_TIMEOUT_MS} ms`, { cause: error });
  }
  if (isInfrastructure(error)) return fail('SYN-P009', 'the database did not answer', { cause: error });
  return fail('SYN-T010', 'the request failed; the log of the agent tells more', { cause: error });
}

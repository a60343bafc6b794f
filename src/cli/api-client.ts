// Speaks to the API of an agent, for the commands. Problems that it answers come back as our errors,
// with the code that the agent gave.

import type { Command } from 'commander';
import { type Config, loadConfig, parseListen } from '../platform/config.ts';
import { ERRORS, type ErrorCode, fail, SynclineError } from '../platform/errors.ts';

const ANSWER_LIMIT_MS = 15_000;
/** What is done to hundreds of rows in one request takes its time, and is not undone when nobody waits for it any more. */
const DONE_LIMIT_MS = 60_000;

export type Target = { readonly url: string; readonly token: string | undefined };

export type ApiFlags = {
  readonly config?: readonly string[];
  readonly api?: readonly string[];
  readonly token?: string;
};

/** The options by which a command finds agents. */
export function addApiOptions(command: Command, several = false): Command {
  const more = several ? ' (several are fine)' : '';
  return command
    .option('-c, --config <file...>', `configuration of the agent: its address and token${more}`)
    .option('--api <url...>', `address of the agent, instead of a configuration${more}`)
    .option('--token <token>', 'token for the API; else $SYNCLINE_TOKEN');
}

/** All agents that the options name. */
export async function targetsOf(flags: ApiFlags): Promise<Target[]> {
  const token = flags.token ?? process.env.SYNCLINE_TOKEN;
  const named = (flags.api ?? []).map((url) => ({ url: url.replace(/\/+$/, ''), token }));
  const configured = await Promise.all(
    (flags.config ?? []).map(async (path) => targetOf(await loadConfig(path), flags.token)),
  );
  const targets = [...named, ...configured];
  if (targets.length === 0) throw fail('SYN-T007', 'no agent is named: give -c FILE, or --api URL');
  return targets;
}

/** The one agent that the options name. */
export async function clientOf(flags: ApiFlags): Promise<ApiClient> {
  const targets = await targetsOf(flags);
  const [target] = targets;
  if (target === undefined || targets.length > 1) throw fail('SYN-T007', 'this command asks one agent: name just one');
  return new ApiClient(target);
}

const RANK = ['viewer', 'operator', 'admin'];

function targetOf({ api }: Config, given: string | undefined): Target {
  const { host, port } = parseListen(api.listen);
  // An address that stands for all of them is reached at the loopback one.
  const reached = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  const best = api.tokens.toSorted((a, b) => RANK.indexOf(b.role) - RANK.indexOf(a.role))[0];
  const url = `http://${reached.includes(':') ? `[${reached}]` : reached}:${port}`;
  return { url, token: given ?? best?.token };
}

export class ApiClient {
  readonly url: string;
  readonly #token: string | undefined;

  constructor({ url, token }: Target) {
    this.url = url;
    this.#token = token;
  }

  async get<Answer>(path: string, query: Readonly<Record<string, string | number | undefined>> = {}): Promise<Answer> {
    const given = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) if (value !== undefined) given.set(name, String(value));
    const text = given.toString();
    return await this.#send<Answer>('GET', text === '' ? path : `${path}?${text}`);
  }

  async post<Answer>(path: string, body: unknown): Promise<Answer> {
    return await this.#send<Answer>('POST', path, body);
  }

  async patch<Answer>(path: string, body: unknown): Promise<Answer> {
    return await this.#send<Answer>('PATCH', path, body);
  }

  async #send<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
    let answer: Response;
    try {
      answer = await fetch(this.url + path, {
        method,
        headers: {
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...(this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(method === 'GET' ? ANSWER_LIMIT_MS : DONE_LIMIT_MS),
      });
    } catch (cause) {
      throw fail('SYN-T007', `${this.url}: ${reasonOf(cause)}`, { cause });
    }
    const content: unknown = await answer.json().catch(() => undefined);
    if (answer.ok && content !== undefined) return content as Answer;
    throw problemOf(this.url, answer.status, content);
  }
}

/** The client library hides what happened in the cause of its error. */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (!(cause instanceof Error)) return String(cause);
  return 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.message;
}

function problemOf(url: string, status: number, content: unknown): SynclineError {
  const { code, detail } = (content ?? {}) as { code?: unknown; detail?: unknown };
  if (typeof code === 'string' && typeof detail === 'string') {
    if (Object.hasOwn(ERRORS, code)) return new SynclineError(code as ErrorCode, detail);
    return fail('SYN-T010', `${url} answered with ${code}: ${detail}`);
  }
  return fail('SYN-T007', `${url} is no API of an agent: it answered with ${status}`);
}

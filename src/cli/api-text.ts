// A body from the API of another region's agent, as text, since there may be more in it than this version knows.

import type { TSchema } from 'typebox';
import { Check } from 'typebox/value';
import { fail } from '../platform/errors.ts';

const LIMIT_MS = 10_000;

export type ApiText = { readonly url: string; readonly token: string | undefined };

/** JSON that fits the schema. SYN-T007 where it is not to be had; the context has the status where there was an answer. */
export async function readApiText({ url, token }: ApiText, path: string, schema: TSchema): Promise<string> {
  const address = url.replace(/\/+$/, '') + path;
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const answer = await fetch(address, { headers, signal: AbortSignal.timeout(LIMIT_MS) }).catch((cause: unknown) => {
    throw fail('SYN-T007', `${address} does not answer`, { cause });
  });
  const { ok, status } = answer;
  const text = await answer.text().catch(() => '');
  if (!ok || text === '') throw fail('SYN-T007', `${address} answers with ${status}`, { context: { status } });
  if (fits(schema, text)) return text;
  throw fail('SYN-T007', `${address} does not answer as an agent does`, { context: { status } });
}

function fits(schema: TSchema, text: string): boolean {
  try {
    return Check(schema, JSON.parse(text));
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}

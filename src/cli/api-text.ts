// A body from the API of another region's agent, as text, since what is in it may not be what this version knows.

import { fail } from '../platform/errors.ts';

const LIMIT_MS = 10_000;

export type ApiText = { readonly url: string; readonly token: string | undefined };

/** SYN-T007 where it is not to be had; the context has the status where there was an answer. */
export async function readApiText({ url, token }: ApiText, path: string): Promise<string> {
  const address = url.replace(/\/+$/, '') + path;
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const answer = await fetch(address, { headers, signal: AbortSignal.timeout(LIMIT_MS) }).catch((cause: unknown) => {
    throw fail('SYN-T007', `${address} does not answer`, { cause });
  });
  const text = await answer.text().catch(() => '');
  if (answer.ok && text !== '') return text;
  throw fail('SYN-T007', `${address} answers with ${answer.status}`, { context: { status: answer.status } });
}

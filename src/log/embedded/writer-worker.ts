// The thread that writes the streams of one agent: it answers one request after the other.
//
// It has a thread because SQLite's commit waits for the disk: for a fraction of a millisecond at
// best, tens of milliseconds on a busy or distant disk. Capture and the API go on meanwhile.

import { parentPort } from 'node:worker_threads';
import { invariant, unreachable } from '../../platform/assert.ts';
import { type ErrorCode, type ErrorContext, SynclineError } from '../../platform/errors.ts';
import { streamPaths } from './stream-file.ts';
import { type RecordColumns, StreamFileWriter } from './stream-file-writer.ts';

export type WriterRequest =
  | { readonly kind: 'open'; readonly directory: string; readonly bytesMax: number }
  | { readonly kind: 'append'; readonly columns: RecordColumns }
  | { readonly kind: 'trim'; readonly offset: number }
  | { readonly kind: 'close' };

export type WriterMessage = { readonly id: number; readonly stream: string; readonly request: WriterRequest };

/** An error with a code crosses threads as plain data, or it would lose its class and code. */
export type Coded = { readonly code: ErrorCode; readonly detail: string; readonly context: ErrorContext };

export type WriterAnswer = { readonly id: number } & (
  | { readonly value: number }
  | { readonly coded: Coded }
  | { readonly uncoded: unknown }
);

const files = new Map<string, StreamFileWriter>();

/** The last offset for an append, 1 or 0 for a step of trimming that leaves more to do or not, else 0. */
function perform(stream: string, request: WriterRequest): number {
  if (request.kind === 'open') {
    files.set(stream, new StreamFileWriter(streamPaths(request.directory, stream), request.bytesMax));
    return 0;
  }
  const file = files.get(stream);
  invariant(file !== undefined, `stream ${stream} is open for writing`);
  switch (request.kind) {
    case 'append':
      return file.append(request.columns);
    case 'trim':
      return file.trimStep(request.offset) ? 1 : 0;
    case 'close':
      files.delete(stream);
      file.close();
      return 0;
    default:
      return unreachable(request);
  }
}

function answer({ id, stream, request }: WriterMessage): WriterAnswer {
  try {
    return { id, value: perform(stream, request) };
  } catch (error) {
    if (!(error instanceof SynclineError)) return { id, uncoded: error };
    const { code, detail, context } = error;
    return { id, coded: { code, detail, context } };
  }
}

parentPort?.on('message', (message: WriterMessage) => parentPort?.postMessage(answer(message)));

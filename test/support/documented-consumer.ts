// The consumer that docs/events.md shows, taken from the page as it stands there. It lies within the repository for as long
// as it is used, where its imports mean what they mean to a reader.

import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import type { ChangeEvent } from '../../src/change/event-schema.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const PAGE = join(ROOT, 'docs/events.md');
const EXAMPLE = /```ts\n([\s\S]*?)```/;

export type Place = { offset: bigint; run: number; position: string };
export type Transaction = { events: ChangeEvent[]; next: Place };

export class DocumentedConsumer implements AsyncDisposable {
  readonly transactions: (brokers: string[], topic: string, from?: Place) => AsyncGenerator<Transaction>;
  readonly #folder: string;

  private constructor(folder: string, transactions: DocumentedConsumer['transactions']) {
    this.#folder = folder;
    this.transactions = transactions;
  }

  static async load(): Promise<DocumentedConsumer> {
    const code = EXAMPLE.exec(await readFile(PAGE, 'utf8'))?.[1] ?? '';
    const folder = join(ROOT, '.cache', `example-${randomBytes(6).toString('hex')}`);
    await mkdir(folder, { recursive: true });
    const path = join(folder, 'consumer.ts');
    await writeFile(path, code);
    const { transactions } = (await import(pathToFileURL(path).href)) as Pick<DocumentedConsumer, 'transactions'>;
    return new DocumentedConsumer(folder, transactions);
  }

  /** What the compiler, as strict as for this repository, says of it. */
  async compile(): Promise<string> {
    const settings = { extends: '../../tsconfig.json', include: ['consumer.ts'] };
    await writeFile(join(this.#folder, 'tsconfig.json'), JSON.stringify(settings));
    const compiler = join(ROOT, 'node_modules/.bin/tsc');
    const run = promisify(execFile)(compiler, ['--noEmit', '-p', this.#folder], { timeout: 120_000 });
    return await run.then(
      () => '',
      ({ stdout }: { stdout: string }) => stdout || 'it did not run',
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }
}

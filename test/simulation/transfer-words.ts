/** What regions have said of the table that is published late, as one of them has it. */
import { hlcFromText } from '../../src/change/hlc.ts';
import type { TransferWord } from '../../src/transfer/transfer-steps.ts';
import type { ModelDatabase } from './model-database.ts';
import { SAID } from './model-store.ts';
import type { ModelTuple } from './model-transaction.ts';

export function wordsOn(database: ModelDatabase): TransferWord[] {
  return [...database.table(SAID).slots.values()].flatMap(({ tuple }) => (tuple === null ? [] : [parse(tuple)]));
}

/** Whether the region itself is about to tell of its rows. */
export function isTelling(database: ModelDatabase): boolean {
  return wordsOn(database).some(({ region, state }) => region === database.region && TELLING.has(state));
}

const TELLING = new Set(['published', 'sealed', 'ready']);

/** Asked for at each step of every schedule; a tuple never changes. */
const PARSED = new WeakMap<ModelTuple, TransferWord>();

function parse(tuple: ModelTuple): TransferWord {
  const known = PARSED.get(tuple);
  if (known !== undefined) return known;
  const said = JSON.parse(tuple.image.v ?? '') as Omit<TransferWord, 'sealed_at'> & { sealed_at: string | null };
  const word = { ...said, sealed_at: said.sealed_at === null ? null : hlcFromText(said.sealed_at) };
  PARSED.set(tuple, word);
  return word;
}

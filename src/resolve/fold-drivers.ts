/** What answers the fold's questions: a function at once, for an oracle; or batches, for regions. */
import { invariant } from '../platform/assert.ts';
import type { FoldAnswer, Folding, FoldRequest, MergeAnswer } from './fold.ts';

export type ValidateRequest = Extract<FoldRequest, { kind: 'validate' }>;
export type MergeRequest = Extract<FoldRequest, { kind: 'merge' }>;

/** Answers to many requests at once, each in the place of its request. */
export type FoldAnswers = {
  readonly validate: (requests: readonly ValidateRequest[]) => Promise<readonly boolean[]>;
  readonly merge: (requests: readonly MergeRequest[]) => Promise<readonly MergeAnswer[]>;
};

export function foldNow<Result>(folding: Folding<Result>, answer: (request: FoldRequest) => FoldAnswer): Result {
  let turn = folding.next();
  while (turn.done !== true) turn = folding.next(answer(turn.value));
  return turn.value;
}

/** For rules that cannot ask. */
export function neverAsked(request: FoldRequest): FoldAnswer {
  throw new TypeError(`the fold asks to ${request.kind}, and nobody answers`);
}

/**
 * Many rows advance together, so that a round of questions costs one call of each kind, however many rows ask. A row has one
 * question at a time: each step needs the one before it.
 */
export async function foldTogether<Result>(
  foldings: readonly Folding<Result>[],
  answers: FoldAnswers,
): Promise<Result[]> {
  const results: Result[] = [];
  let waiting = new Map<number, FoldRequest>();
  const advance = (place: number, turn: IteratorResult<FoldRequest, Result>): void => {
    if (turn.done === true) results[place] = turn.value;
    else next.set(place, turn.value);
  };
  let next = new Map<number, FoldRequest>();
  for (const [place, folding] of foldings.entries()) advance(place, folding.next());
  while (next.size > 0) {
    waiting = next;
    next = new Map();
    const validations: { place: number; request: ValidateRequest }[] = [];
    const merges: { place: number; request: MergeRequest }[] = [];
    for (const [place, request] of waiting) {
      if (request.kind === 'validate') validations.push({ place, request });
      else merges.push({ place, request });
    }
    const [valid, merged] = await Promise.all([
      validations.length === 0 ? [] : answers.validate(validations.map(({ request }) => request)),
      merges.length === 0 ? [] : answers.merge(merges.map(({ request }) => request)),
    ]);
    invariant(valid.length === validations.length && merged.length === merges.length, 'each request has its answer');
    const resume = (place: number, answer: FoldAnswer | undefined): void => {
      const folding = foldings[place];
      invariant(folding !== undefined && answer !== undefined, 'each answer has its row');
      advance(place, folding.next(answer));
    };
    for (const [at, { place }] of validations.entries()) resume(place, valid[at]);
    for (const [at, { place }] of merges.entries()) resume(place, merged[at]);
  }
  return results;
}

// Each mutation (`mutations.ts`) is a piece of text that stands exactly once in its file. One that
// stands there no more is a rule that nobody would notice the loss of.

import { MUTATIONS } from './mutations.ts';
import type { Check } from './source-tree.ts';

export const checkMutations: Check = (tree) =>
  MUTATIONS.flatMap(({ name, file, find }) => {
    const times = (tree.get(file)?.split(find).length ?? 1) - 1;
    return times === 1 ? [] : [`${file}: the text of the mutation ${name} stands there ${times} times`];
  });

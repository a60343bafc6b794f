// Which tables a pattern list names. A pattern is `schema.table`, in which `*` stands for any run of
// characters; names are compared as they are stored, so upper case counts and nothing is quoted.
// A table is taken if a pattern of `include` matches and none of `exclude` does.

export interface TableFilter {
  readonly include: readonly string[];
  readonly exclude: readonly string[];
}

export function isTableIncluded(filter: TableFilter, schema: string, table: string): boolean {
  const name = `${schema}.${table}`;
  const matches = (pattern: string): boolean => matchesPattern(pattern, name);
  return filter.include.some(matches) && !filter.exclude.some(matches);
}

/** Compares the whole name piece by piece, without a regular expression whose run time a pattern could blow up. */
export function matchesPattern(pattern: string, name: string): boolean {
  const [head = '', ...pieces] = pattern.split('*');
  if (pieces.length === 0) return name === head;
  const tail = pieces.pop() ?? '';
  if (!name.startsWith(head) || !name.endsWith(tail) || name.length < head.length + tail.length) return false;
  let from = head.length;
  for (const piece of pieces) {
    const at = name.indexOf(piece, from);
    if (at < 0) return false;
    from = at + piece.length;
  }
  return from <= name.length - tail.length;
}

/**
 * The shape of a definition that this version of Syncline can read. One that was made by a newer version may say what is
 * unknown here: then it is refused, for half understood is wrong.
 */
import Type from 'typebox';
import { Check } from 'typebox/value';
import { COLUMN_STRATEGIES } from '../resolve/merge-rule.ts';
import type { MergeDefinition } from './merge-definition.ts';

const closed = { additionalProperties: false } as const;
const Names = Type.Array(Type.String());

const Definition = Type.Object(
  {
    schema_name: Type.String(),
    table_name: Type.String(),
    rule: Type.Object(
      {
        table: Type.String(),
        key: Names,
        rows: Type.Union([Type.Enum(['lww', 'lww-columns']), Type.Object({ hash: Type.String() }, closed)]),
        columns: Type.Record(
          Type.String(),
          Type.Object({ strategy: Type.Enum([...COLUMN_STRATEGIES]), typeName: Type.String() }, closed),
        ),
        deletes: Type.Enum(['latest', 'delete-wins', 'update-wins']),
        needsValidation: Type.Boolean(),
      },
      closed,
    ),
    function: Type.Union([
      Type.Null(),
      Type.Object(
        {
          source: Type.String(),
          limits: Type.Object({ steps: Type.Integer(), memory_mb: Type.Integer(), row_bytes: Type.Integer() }, closed),
        },
        closed,
      ),
    ]),
    validity: Type.Object(
      {
        columns: Type.Array(
          Type.Object({ name: Type.String(), type: Type.String(), not_null: Type.Boolean() }, closed),
        ),
        checks: Type.Array(
          Type.Object(
            { name: Type.String(), definition: Type.String(), expression: Type.Union([Type.String(), Type.Null()]) },
            closed,
          ),
        ),
      },
      closed,
    ),
  },
  closed,
);

/** The definition in a text of the database; null where this version cannot read it. */
export function parseDefinition(text: string): MergeDefinition | null {
  const parsed: unknown = JSON.parse(text);
  return Check(Definition, parsed) ? parsed : null;
}

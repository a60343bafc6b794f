import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkConfigDoc, settingsOf } from './check-config-doc.ts';

test('each value is a row, with what it is by default and may be, and groups are taken apart', () => {
  const rows = settingsOf({
    required: ['name', 'port', 'tags'],
    properties: {
      name: { type: 'string', description: 'A name.' },
      port: { type: 'integer', default: 80, minimum: 1, maximum: 99, description: 'A port.' },
      tags: {
        type: 'array',
        default: [],
        items: { properties: { on: { type: 'boolean', description: 'Whether.' } } },
        description: 'Tags.',
      },
      more: { properties: { mode: { enum: ['a', 'b'], description: 'A mode.' } } },
    },
  });
  assert.deepEqual(rows, [
    ['`name`', 'needed', 'a text', 'A name.'],
    ['`port`', '`80`', '1 to 99', 'A port.'],
    ['`tags`', '`[]`', 'a list', 'Tags.'],
    ['`tags[].on`', '', '`true`, `false`', 'Whether.'],
    ['`more.mode`', '', '`a`, `b`', 'A mode.'],
  ]);
  assert.throws(() => settingsOf({ properties: { mute: { type: 'string' } } }), /mute has no description/);
});

test('a page that tells other settings than the schemas is a complaint', () => {
  const page = 'Configuration.\n\n## Every setting\n\n| `region` | … |\n';
  assert.deepEqual(checkConfigDoc(new Map([['docs/configuration.md', page]])), [
    'docs/configuration.md: the settings differ from the schemas (npm run docs:config)',
  ]);
});

import assert from 'node:assert/strict';
import { registerHooks } from 'node:module';
import { test } from 'node:test';

test('who has no stream in Kafka does not load its client, which takes much of an agent’s start', async () => {
  const loaded: string[] = [];
  const hooks = registerHooks({
    load(url, context, next) {
      loaded.push(url);
      return next(url, context);
    },
  });
  try {
    await import('./agent.ts');
    await import('./cli/doctor-checks.ts');
    const ofKafka = (): readonly string[] => loaded.filter((url) => url.includes('@platformatic/kafka'));
    assert.ok(loaded.length > 100, `${loaded.length} modules`);
    assert.deepEqual(ofKafka(), []);
    await import('./log/kafka/kafka-log.ts');
    assert.ok(ofKafka().length > 0, 'there it is loaded');
  } finally {
    hooks.deregister();
  }
});

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { Rollout } from '../change/merge-registry.ts';
import {
  type Ack,
  type Activation,
  effectiveIntent,
  type Intent,
  isDue,
  missingRegions,
  type RegionState,
  regionState,
  rollbackOf,
  rolloutTo,
  versionState,
  versionsOf,
} from './rollout.ts';

const TABLE = { schema_name: 'public', table_name: 't' };
const IMMEDIATE = { mode: 'immediate', percent: 100 } as const;

const rollout = (more: Partial<Rollout> = {}): Rollout => {
  return { version_id: 'v1', base_version_id: null, ...IMMEDIATE, ...more };
};
const intent = (generation: number, region: string, more: Partial<Rollout> = {}): Intent => {
  return { ...TABLE, ...rollout(more), region, generation, wanted_at: '' };
};
const activation = (region: string, of: Intent): Activation => {
  return { ...of, region, decided_by: of.region, activated_at: '' };
};
const ack = (version_id: string, region: string, verdict: Ack['verdict'] = 'ok'): Ack => {
  return { version_id, region, verdict, reason: verdict === 'ok' ? null : 'why', is_ready: true, acked_at: '' };
};

describe('what is wanted of a table', () => {
  test('is what was said last, and of two at once what the higher region said, in whichever order they arrive', () => {
    const drawn = fc.array(fc.tuple(fc.nat({ max: 3 }), fc.constantFrom('ap', 'eu', 'us')), { minLength: 1 });
    fc.assert(
      fc.property(drawn, fc.infiniteStream(fc.nat()), (places, order) => {
        const intents = places.map(([generation, region]) => intent(generation, region));
        const shuffled = intents.map((each) => [order.next().value, each] as const).sort(([a], [b]) => a - b);
        const best = effectiveIntent(shuffled.map(([, each]) => each));
        const highest = [...intents]
          .sort((a, b) => a.generation - b.generation || (a.region < b.region ? -1 : 1))
          .at(-1);
        assert.deepEqual(best, highest);
      }),
    );
    assert.equal(effectiveIntent([]), null);
  });

  test('names the versions that events may name, and no others', () => {
    assert.deepEqual(versionsOf(rollout({ base_version_id: 'v0' })), ['v1']);
    assert.deepEqual(versionsOf(rollout({ base_version_id: 'v0', mode: 'percent', percent: 5 })), ['v1', 'v0']);
    assert.deepEqual(versionsOf(rollout({ base_version_id: 'v0', mode: 'shadow' })), ['v1', 'v0']);
    assert.deepEqual(versionsOf(rollout({ version_id: null, base_version_id: null })), []);
  });

  test('keeps, from step to step, what the other rows go by and where a rollback leads', () => {
    const percent = { mode: 'percent', percent: 10 } as const;
    const first = rolloutTo(null, 'v1', IMMEDIATE);
    assert.deepEqual(first, rollout());
    const second = rolloutTo(first, 'v2', percent);
    assert.deepEqual(second, { version_id: 'v2', base_version_id: 'v1', ...percent });
    const wider = rolloutTo(second, 'v2', { mode: 'percent', percent: 50 });
    assert.deepEqual(wider, { version_id: 'v2', base_version_id: 'v1', mode: 'percent', percent: 50 });
    const whole = rolloutTo(wider, 'v2', IMMEDIATE);
    assert.deepEqual(whole, rollout({ version_id: 'v2', base_version_id: 'v1' }));
    // Another one takes the place of a rollout: its rows go by what the spared ones go by.
    assert.deepEqual(rolloutTo(second, 'v3', { mode: 'shadow', percent: 100 }), {
      version_id: 'v3',
      base_version_id: 'v1',
      mode: 'shadow',
      percent: 100,
    });
    assert.deepEqual(rolloutTo(second, 'v1', IMMEDIATE), rollout());
    assert.deepEqual(rollbackOf(second, undefined), rollout());
    assert.deepEqual(rollbackOf(whole, undefined), rollout());
    assert.deepEqual(rollbackOf(first, undefined), rollout({ version_id: null }));
    assert.deepEqual(rollbackOf(whole, null), rollout({ version_id: null }));
    assert.deepEqual(rollbackOf(whole, 'v0'), rollout({ version_id: 'v0' }));
  });
});

describe('a region', () => {
  const members = ['eu', 'us'];

  test('activates once every member can run all that its events would name', () => {
    const percent = intent(2, 'us', { version_id: 'v2', base_version_id: 'v1', mode: 'percent', percent: 10 });
    const all = [ack('v1', 'eu'), ack('v1', 'us'), ack('v2', 'eu'), ack('v2', 'us')];
    assert.equal(isDue(percent, null, members, all), true);
    for (const [place, each] of all.entries()) {
      const others = all.toSpliced(place, 1);
      assert.equal(isDue(percent, null, members, others), false);
      assert.equal(isDue(percent, null, members, [...others, ack(each.version_id, each.region, 'refused')]), false);
    }
    assert.deepEqual(missingRegions(['eu', 'us', 'ap'], all, ['v1', 'v2']), ['ap']);
    assert.equal(isDue(percent, null, [...members, 'ap'], all), false);
    assert.equal(
      isDue(intent(1, 'eu', { version_id: null }), null, members, []),
      true,
      'last writer wins needs nobody',
    );
  });

  test('follows each intent once, and never an older one', () => {
    const acks = members.map((region) => ack('v1', region));
    const due = (own: [number, string], wanted: [number, string]): boolean =>
      isDue(intent(...wanted), activation('eu', intent(...own)), members, acks);
    assert.equal(due([2, 'us'], [2, 'us']), false);
    assert.equal(due([2, 'eu'], [2, 'us']), true);
    assert.equal(due([2, 'us'], [2, 'eu']), false);
    assert.equal(due([2, 'us'], [3, 'eu']), true);
    assert.equal(due([3, 'eu'], [2, 'us']), false);
  });

  test('is as far with a version as its own rows say', () => {
    const active = activation('eu', intent(1, 'us'));
    const spared = activation('eu', intent(1, 'us', { version_id: 'v2', base_version_id: 'v1', mode: 'shadow' }));
    const replaced = activation('eu', intent(1, 'us', { version_id: 'v2', base_version_id: 'v1' }));
    const none: [readonly Ack[], readonly Activation[]] = [[], []];
    const states: readonly [RegionState, readonly [readonly Ack[], readonly Activation[]]][] = [
      ['staged', none],
      ['staged', [[ack('v1', 'us'), ack('v2', 'eu')], [activation('us', intent(1, 'us'))]]],
      ['refused', [[ack('v1', 'eu', 'refused')], []]],
      ['acknowledged', [[ack('v1', 'eu')], []]],
      ['acknowledged', [[ack('v1', 'eu')], [replaced]]],
      ['active', [[ack('v1', 'eu')], [active]]],
      ['active', [[ack('v1', 'eu')], [spared]]],
      // A table that changed since: events name it all the same.
      ['active', [[ack('v1', 'eu', 'refused')], [active]]],
    ];
    for (const [state, [acks, activations]] of states) {
      assert.equal(regionState('v1', 'eu', acks, activations), state, JSON.stringify([acks, activations]));
    }
  });
});

describe('a version', () => {
  /** By the states that its regions are in, in any number: what it is while it is wanted, and what it is then. */
  const STATES: Readonly<Record<string, readonly [string, string]>> = {
    staged: ['staged', 'retired'],
    refused: ['staged', 'retired'],
    acknowledged: ['acknowledged', 'retired'],
    active: ['active', 'active'],
    'refused staged': ['staged', 'retired'],
    'acknowledged staged': ['staged', 'retired'],
    'acknowledged refused': ['staged', 'retired'],
    'acknowledged refused staged': ['staged', 'retired'],
    'active staged': ['staged', 'active'],
    'active refused': ['staged', 'active'],
    'active acknowledged': ['acknowledged', 'active'],
    'active refused staged': ['staged', 'active'],
    'acknowledged active staged': ['staged', 'active'],
    'acknowledged active refused': ['staged', 'active'],
    'acknowledged active refused staged': ['staged', 'active'],
  };

  test('has a state that follows from those of its regions, whatever they are', () => {
    const all: readonly RegionState[] = ['staged', 'refused', 'acknowledged', 'active'];
    const named = new Map(
      Object.entries(STATES).map(([states, expected]) => [states.split(' ').sort().join(' '), expected]),
    );
    const seen = new Set<string>();
    for (const a of all)
      for (const b of all)
        for (const c of all)
          for (const d of all) {
            const states = [a, b, c, d];
            const kinds = [...new Set(states)].sort().join(' ');
            seen.add(kinds);
            assert.deepEqual([versionState(states, true), versionState(states, false)], named.get(kinds), kinds);
          }
    assert.equal(seen.size, named.size);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { metricsOf } from '../../../core/api/metrics.ts';
import { Histogram } from '../../../core/base/histogram.ts';
import type { SessionView } from '../../../core/control/sessions.ts';
import { withPlane } from '../control/fixture.ts';

interface Sample {
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly value: number;
}
interface Family {
  readonly type: string;
  readonly samples: Sample[];
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;

/** `name{label="value",…} number`, exactly as the exposition format 0.0.4 has it. Throws for anything else. */
function sampleOf(line: string): Sample {
  const name = /^[^{ ]+/.exec(line)?.[0] ?? '';
  assert.match(name, NAME, line);
  const labels = new Map<string, string>();
  let rest = line.slice(name.length);
  if (rest.startsWith('{')) {
    rest = rest.slice(1);
    const label = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|\})/;
    for (let last = ''; last !== '}';) {
      const [all = '', key = '', value = '', end = ''] = label.exec(rest) ?? [];
      assert.notEqual(all, '', `labels: ${line}`);
      assert.ok(!labels.has(key), `label twice: ${line}`);
      const plain = value.replaceAll(/\\(.)/g, (_, each: string) => (each === 'n' ? '\n' : each));
      labels.set(key, plain);
      rest = rest.slice(all.length);
      last = end;
    }
  }
  assert.match(rest, /^ (?:[+-]?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|Inf)|NaN)$/, line);
  return { name, labels, value: Number(rest.slice(1).replace('Inf', 'Infinity')) };
}

/** Parses a page: HELP, TYPE and then all samples of a family, no family and no series twice. */
function parse(page: string): Map<string, Family> {
  assert.ok(page.endsWith('\n') && !page.includes('\n\n'));
  const families = new Map<string, Family>();
  const series = new Set<string>();
  let current = '';
  let helped = '';
  for (const line of page.trimEnd().split('\n')) {
    const [, kind, of = '', text = ''] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? [];
    if (kind === 'HELP') {
      assert.ok(!families.has(of), `${of} twice`);
      helped = of;
      continue;
    }
    if (kind === 'TYPE') {
      assert.equal(of, helped, 'TYPE stands behind its HELP');
      assert.match(text, /^(counter|gauge|histogram)$/);
      if (text === 'counter') assert.ok(of.endsWith('_total'), of);
      families.set(of, { type: text, samples: [] });
      current = of;
      continue;
    }
    const sample = sampleOf(line);
    const family = families.get(current);
    const suffixes = family?.type === 'histogram' ? ['_bucket', '_sum', '_count'] : [''];
    assert.ok(family !== undefined && suffixes.some((suffix) => sample.name === current + suffix), line);
    const key = `${sample.name} ${JSON.stringify([...sample.labels].sort())}`;
    assert.ok(!series.has(key), `series twice: ${line}`);
    series.add(key);
    family.samples.push(sample);
  }
  for (const [name, family] of families) if (family.type === 'histogram') checkHistogram(name, family.samples);
  return families;
}

function checkHistogram(name: string, samples: readonly Sample[]): void {
  // Of one volume, or of one session.
  const whose = ({ labels }: Sample): string => JSON.stringify([...labels].filter(([label]) => label !== 'le'));
  const of = (suffix: string, owner: string): Sample[] =>
    samples.filter((each) => each.name === name + suffix && whose(each) === owner);
  for (const owner of new Set(samples.map(whose))) {
    const buckets = of('_bucket', owner);
    const bounds = buckets.map((each) => Number((each.labels.get('le') ?? '').replace('+Inf', 'Infinity')));
    const counts = buckets.map((each) => each.value);
    assert.deepEqual(
      bounds,
      [...new Set(bounds)].sort((a, b) => a - b),
      'bounds ascend',
    );
    assert.deepEqual(
      counts,
      [...counts].sort((a, b) => a - b),
      'counts are cumulative',
    );
    assert.equal(bounds.at(-1), Infinity);
    assert.deepEqual(
      [counts.at(-1)],
      of('_count', owner).map((each) => each.value),
    );
    assert.equal(of('_sum', owner).length, 1);
  }
}

function sessionOf(tsih: number, initiator: string): SessionView {
  return {
    ...{ tsih, initiator, alias: undefined, isid: '800000000001', target: 'iqn.2026-01.example:t', peer: '[::1]:4' },
    ...{ portal: '[::1]:3260', headerDigest: true, dataDigest: false, activeTasks: 3, commands: 7 },
    ...{ readBytes: 2 ** 52, writtenBytes: 1, receivedBytes: 2, sentBytes: 3, digestErrors: 4, rejects: 5 },
  };
}

describe('the metrics page', () => {
  it('is well-formed, with every counter of every volume and session', async () => {
    await withPlane(async (plane) => {
      await plane.provisioner.create({ name: 'one', size: 1 << 20 });
      await plane.pools.create({ name: 'tank', size: 16 << 20 });
      await plane.provisioner.create({ name: 'two.b-c', size: 1 << 20, pool: 'tank' });
      const lu = plane.units.unit('one');
      assert.ok(lu);
      for (let i = 0; i < 40; i++) lu.counters.readLatency.add(1, 2 ** (i % 30) * 1.3);
      lu.counters.reads = 40;
      const pooled = plane.units.unit('two.b-c')?.volume;
      assert.ok(pooled);
      await pooled.write(0, Buffer.alloc(4096, 1), 0, 4096, false);
      const dirty = parse(metricsOf(plane)).get('gemel_cache_dirty_bytes')?.samples;
      assert.equal(dirty?.find((each) => each.labels.get('volume') === 'two.b-c')?.value, 65_536);
      await plane.pools.pool('tank').checkpoint();
      const timed = new Histogram();
      timed.add(3, 100);
      const hostile = 'iqn.2026-01.example:a"b\\c\nd{}';
      const server = {
        portals: [],
        sessions: () => [sessionOf(1, 'iqn.2026-01.example:a'), sessionOf(2, hostile)],
        latencies: () => new Map([1, 2].map((tsih) => [tsih, { reads: timed, writes: new Histogram() }])),
        closeTarget: () => undefined,
      };
      const source = plane.pools.rodSource('two.b-c');
      assert.ok(source);
      const facts = { id: 'ab'.repeat(16), blockSize: 512, initiator: hostile, source: 'x', timeout: 60_000 };
      const ranges = [{ position: 0, length: 131_072 }];
      const usedBytes = plane.pools.pool('tank').allocator.used * 65_536;
      await source.make({ ...facts, ranges, held: () => undefined });
      const families = parse(metricsOf({ ...plane, server: () => server }));
      const one = (family: string, label: string, value: string): Sample[] =>
        families.get(family)?.samples.filter((each) => each.labels.get(label) === value) ?? [];
      const { heapUsed, rss } = process.memoryUsage();
      const heap = families.get('nodejs_heap_size_used_bytes')?.samples[0]?.value ?? 0;
      const resident = families.get('process_resident_memory_bytes')?.samples[0]?.value ?? 0;
      assert.ok(heap > heapUsed / 4 && heap < heapUsed * 4 && resident > rss / 4 && resident < rss * 4);
      assert.ok((families.get('process_cpu_seconds_total')?.samples[0]?.value ?? 0) > 0);
      assert.equal(one('gemel_volume_reads_total', 'volume', 'one')[0]?.value, 40);
      const latency = one('gemel_volume_read_seconds', 'volume', 'one');
      assert.equal(latency.find((each) => each.name.endsWith('_count'))?.value, 40);
      assert.equal(one('gemel_session_read_bytes_total', 'initiator', hostile)[0]?.value, 2 ** 52);
      const own = one('gemel_session_read_seconds', 'initiator', hostile);
      assert.equal(own.find((each) => each.name.endsWith('_count'))?.value, 3);
      assert.ok(Math.abs((own.find((each) => each.name.endsWith('_sum'))?.value ?? 0) - 3e-4) < 1e-9);
      assert.equal(one('gemel_pool_up', 'pool', 'tank')[0]?.value, 1);
      assert.equal(one('gemel_pool_capacity_bytes', 'pool', 'tank')[0]?.value, 16 << 20);
      assert.equal(usedBytes, 65_536);
      assert.equal(one('gemel_pool_tokens', 'pool', 'tank')[0]?.value, 1);
      assert.equal(one('gemel_pool_token_bytes', 'pool', 'tank')[0]?.value, 131_072);
      assert.ok((one('gemel_pool_checkpoints_total', 'pool', 'tank')[0]?.value ?? 0) > 0);
      assert.equal(one('gemel_pool_damaged_blocks_total', 'pool', 'tank')[0]?.value, 0);
      assert.equal(one('gemel_cache_dirty_bytes', 'volume', 'two.b-c')[0]?.value, 0);
      assert.ok((one('gemel_cache_destaged_bytes_total', 'volume', 'two.b-c')[0]?.value ?? 0) >= 4096);
      for (const [name, { samples }] of families) {
        if (name.startsWith('gemel_volume_')) assert.ok(new Set(samples.map((s) => s.labels.get('volume'))).size === 2);
        const sums = samples.filter((each) => each.name === `${name}_sum`);
        if (name.startsWith('gemel_session_')) assert.equal(sums.length || samples.length, 2, name);
      }
    });
  });

  it('is refused by this parser when it is not well-formed', () => {
    const head = '# HELP a_total x\n# TYPE a_total counter\n';
    parse(`${head}a_total{b="c"} 1\na_total{b="d"} 1e+21\n`);
    const wrong = [
      `${head}a_total{b="c"} 1\na_total{b="c"} 2\n`,
      `${head}a_total{b="c\\x"} 1\n`,
      `${head}a_total{b="c"} one\n`,
      `${head}a_total{b=c} 1\n`,
      `${head}b_total 1\n`,
      `${head}a_total 1`,
      '# TYPE a_total counter\na_total 1\n',
      '# HELP a x\n# TYPE a counter\na 1\n',
      '# HELP h x\n# TYPE h histogram\nh_bucket{le="1"} 2\nh_bucket{le="+Inf"} 1\nh_sum 1\nh_count 1\n',
      '# HELP h x\n# TYPE h histogram\nh_bucket{le="1"} 1\nh_sum 1\nh_count 1\n',
    ];
    for (const page of wrong) assert.throws(() => parse(page), page);
  });
});

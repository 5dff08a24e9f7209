// Prometheus text exposition format 0.0.4.
import type { Histogram } from '../base/histogram.ts';
import type { ControlPlane } from '../control/control-plane.ts';
import { poolFacts } from '../control/pool-views.ts';
import { cacheCounters } from '../control/views.ts';

export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

type Labels = Readonly<Record<string, string>>;

class MetricsText {
  readonly #lines: string[] = [];

  family(name: string, type: 'counter' | 'gauge' | 'histogram', help: string): void {
    this.#lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
  }

  sample(name: string, labels: Labels, value: number): void {
    const pairs = Object.entries(labels).map(([key, text]) => `${key}="${escaped(text)}"`);
    this.#lines.push(`${name}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''} ${String(value)}`);
  }

  /** Buckets in seconds. */
  histogram(name: string, labels: Labels, histogram: Histogram): void {
    for (const { upTo, count } of histogram.cumulative()) {
      this.sample(`${name}_bucket`, { ...labels, le: String(upTo / 1e6) }, count);
    }
    this.sample(`${name}_bucket`, { ...labels, le: '+Inf' }, histogram.count);
    this.sample(`${name}_sum`, labels, histogram.sum / 1e6);
    this.sample(`${name}_count`, labels, histogram.count);
  }

  toString(): string {
    return `${this.#lines.join('\n')}\n`;
  }
}

const escaped = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');

const VOLUME_COUNTERS = [
  ['reads', 'gemel_volume_reads_total', 'READ commands completed.'],
  ['readBytes', 'gemel_volume_read_bytes_total', 'Bytes read by initiators.'],
  ['writes', 'gemel_volume_writes_total', 'WRITE commands completed.'],
  ['writtenBytes', 'gemel_volume_written_bytes_total', 'Bytes written by initiators.'],
  ['others', 'gemel_volume_other_commands_total', 'Commands other than reads and writes.'],
  ['errors', 'gemel_volume_errors_total', 'Commands that ended with CHECK CONDITION.'],
  ['conflicts', 'gemel_volume_reservation_conflicts_total', 'Commands refused because of a reservation.'],
  ['aborted', 'gemel_volume_aborted_total', 'Commands aborted by task management or a lost session.'],
] as const;

const SESSION_COUNTERS = [
  ['commands', 'gemel_session_commands_total', 'SCSI commands received.'],
  ['readBytes', 'gemel_session_read_bytes_total', 'Bytes read by the initiator.'],
  ['writtenBytes', 'gemel_session_written_bytes_total', 'Bytes written by the initiator.'],
  ['receivedBytes', 'gemel_session_received_bytes_total', 'Bytes received on the connection.'],
  ['sentBytes', 'gemel_session_sent_bytes_total', 'Bytes sent on the connection.'],
  ['digestErrors', 'gemel_session_digest_errors_total', 'PDUs with a wrong digest.'],
  ['rejects', 'gemel_session_rejects_total', 'PDUs rejected.'],
] as const;

const POOL_METRICS = [
  ['capacityBytes', 'gemel_pool_capacity_bytes', 'gauge', 'Room for the data of volumes.'],
  ['usedBytes', 'gemel_pool_used_bytes', 'gauge', 'Room that holds data.'],
  ['reservedBytes', 'gemel_pool_reserved_bytes', 'gauge', 'Room that is promised to thick volumes and running writes.'],
  ['quarantinedBytes', 'gemel_pool_quarantined_bytes', 'gauge', 'Room that is free after the next checkpoint.'],
  ['tokens', 'gemel_pool_tokens', 'gauge', 'Tokens of offloaded copies that can be used.'],
  [
    'tokenBytes',
    'gemel_pool_token_bytes',
    'gauge',
    'Bytes these tokens stand for, which stay until they have expired.',
  ],
  ['journalBytes', 'gemel_pool_journal_bytes', 'gauge', 'Size of the journal.'],
  ['journalUsedBytes', 'gemel_pool_journal_used_bytes', 'gauge', 'Bytes in the journal that are not in place yet.'],
  ['checkpoints', 'gemel_pool_checkpoints_total', 'counter', 'Checkpoints since the pool was opened.'],
  ['damagedBlocks', 'gemel_pool_damaged_blocks_total', 'counter', 'Reads of blocks that do not match their checksum.'],
  ['reclaimedBytes', 'gemel_pool_reclaimed_bytes_total', 'counter', 'Freed room that was given back to the disks.'],
] as const;

const CACHE_METRICS = [
  ['hits', 'gemel_cache_hits_total', 'counter', 'Reads answered by the cache.'],
  ['misses', 'gemel_cache_misses_total', 'counter', 'Reads that had to wait for the storage.'],
  ['dirtyBytes', 'gemel_cache_dirty_bytes', 'gauge', 'Bytes of frames that are not in their places yet.'],
  ['destagedBytes', 'gemel_cache_destaged_bytes_total', 'counter', 'Bytes put into their places.'],
] as const;

const OFFLOAD_METRICS = [
  ['used', 'gemel_offload_used_total', 'Offload commands carried out.'],
  ['sharedBytes', 'gemel_offload_shared_bytes_total', 'Bytes that were copied or zeroed in the map alone.'],
  ['copiedBytes', 'gemel_offload_copied_bytes_total', 'Bytes that were moved inside the storage.'],
  ['seconds', 'gemel_offload_seconds_total', 'Time offload commands took, all together.'],
] as const;

/** The metrics page. */
export function metricsOf(control: ControlPlane): string {
  const text = new MetricsText();
  text.family('gemel_info', 'gauge', 'Version and node of this daemon.');
  text.sample('gemel_info', { version: control.version, node: control.catalog.node.id }, 1);
  text.family('gemel_start_time_seconds', 'gauge', 'Start of the daemon since 1970.');
  text.sample('gemel_start_time_seconds', {}, control.started / 1000);
  processMetrics(text);
  volumeMetrics(text, control);
  cacheMetrics(text, control);
  poolMetrics(text, control);
  offloadMetrics(text, control);
  sessionMetrics(text, control);
  return text.toString();
}

/** Of this process, under the names that client libraries of Prometheus use, so that ready-made dashboards know them. */
function processMetrics(text: MetricsText): void {
  const memory = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  text.family('process_cpu_seconds_total', 'counter', 'Processor time of the daemon.');
  text.sample('process_cpu_seconds_total', {}, (user + system) / 1e6);
  for (const [name, help, bytes] of [
    ['process_resident_memory_bytes', 'Memory of the daemon, its cache included.', memory.rss],
    ['nodejs_heap_size_used_bytes', 'Objects of JavaScript.', memory.heapUsed],
    ['nodejs_external_memory_bytes', 'Memory that these objects own outside of the heap: buffers.', memory.external],
  ] as const) {
    text.family(name, 'gauge', help);
    text.sample(name, {}, bytes);
  }
}

function volumeMetrics(text: MetricsText, { catalog, units }: ControlPlane): void {
  const all = units.all().map(({ record, lu }) => ({ labels: { volume: record.name }, record, lu }));
  text.family('gemel_volume_up', 'gauge', '1 when the volume is served.');
  for (const { name } of catalog.volumes.values()) {
    text.sample('gemel_volume_up', { volume: name }, units.unit(name) === undefined ? 0 : 1);
  }
  text.family('gemel_volume_size_bytes', 'gauge', 'Size initiators see.');
  for (const { labels, record } of all) text.sample('gemel_volume_size_bytes', labels, record.size);
  text.family('gemel_volume_allocated_bytes', 'gauge', 'Storage in use.');
  for (const { labels, lu } of all) text.sample('gemel_volume_allocated_bytes', labels, lu.volume.allocatedBytes());
  for (const [key, name, help] of VOLUME_COUNTERS) {
    text.family(name, 'counter', help);
    for (const { labels, lu } of all) text.sample(name, labels, lu.counters[key]);
  }
  for (const [key, name, what] of [
    ['readLatency', 'gemel_volume_read_seconds', 'READ'],
    ['writeLatency', 'gemel_volume_write_seconds', 'WRITE'],
  ] as const) {
    text.family(name, 'histogram', `From the arrival of a ${what} command to its answer.`);
    for (const { labels, lu } of all) text.histogram(name, labels, lu.counters[key]);
  }
}

function cacheMetrics(text: MetricsText, { units }: ControlPlane): void {
  const all = units.all().flatMap(({ record, lu }) => {
    const counters = cacheCounters(lu.volume);
    return counters === undefined ? [] : [{ labels: { volume: record.name }, counters }];
  });
  for (const [key, name, type, help] of CACHE_METRICS) {
    text.family(name, type, help);
    for (const { labels, counters } of all) text.sample(name, labels, counters[key]);
  }
}

function poolMetrics(text: MetricsText, { catalog, pools }: ControlPlane): void {
  const names = catalog.pools.values().map((record) => record.name);
  const open = names.filter((name) => pools.problem(name) === undefined);
  text.family('gemel_pool_up', 'gauge', '1 when the pool is open.');
  for (const pool of names) text.sample('gemel_pool_up', { pool }, open.includes(pool) ? 1 : 0);
  const all = open.map((pool) => ({ labels: { pool }, facts: poolFacts(pools, pool) }));
  for (const [key, name, type, help] of POOL_METRICS) {
    text.family(name, type, help);
    for (const { labels, facts } of all) text.sample(name, labels, facts[key]);
  }
}

function offloadMetrics(text: MetricsText, { offload }: ControlPlane): void {
  const all = offload
    .views()
    .flatMap(({ volume, hosts }) =>
      hosts.flatMap(({ initiator, kinds }) =>
        kinds.map((counters) => ({ labels: { volume, initiator, kind: counters.kind }, counters })),
      ),
    );
  for (const [key, name, help] of OFFLOAD_METRICS) {
    text.family(name, 'counter', help);
    for (const { labels, counters } of all) text.sample(name, labels, counters[key]);
  }
  text.family('gemel_offload_refused_total', 'counter', 'Offload commands refused, by reason.');
  for (const { labels, counters } of all) {
    for (const { reason, count } of counters.reasons) {
      text.sample('gemel_offload_refused_total', { ...labels, reason }, count);
    }
  }
}

function sessionMetrics(text: MetricsText, { server }: ControlPlane): void {
  const latencies = server()?.latencies();
  const sessions = (server()?.sessions() ?? []).map((session) => {
    const { initiator, isid, target = '', portal } = session;
    const labels = { initiator, isid, target, portal, tsih: String(session.tsih) };
    return { session, labels, latency: latencies?.get(session.tsih) };
  });
  text.family('gemel_sessions', 'gauge', 'Sessions now.');
  text.sample('gemel_sessions', {}, sessions.length);
  text.family('gemel_session_active_tasks', 'gauge', 'Commands being worked on.');
  for (const { session, labels } of sessions) text.sample('gemel_session_active_tasks', labels, session.activeTasks);
  for (const [key, name, help] of SESSION_COUNTERS) {
    text.family(name, 'counter', help);
    for (const { session, labels } of sessions) text.sample(name, labels, session[key]);
  }
  for (const [key, name, what] of [
    ['reads', 'gemel_session_read_seconds', 'READ'],
    ['writes', 'gemel_session_write_seconds', 'WRITE'],
  ] as const) {
    text.family(name, 'histogram', `From the arrival of a ${what} command of the session to its answer.`);
    for (const { labels, latency } of sessions) {
      if (latency !== undefined) text.histogram(name, labels, latency[key]);
    }
  }
}

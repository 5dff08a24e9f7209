// The nodes of a cluster and what is between them, as a drawing; the same is said in words for those who do not see it.
import { html, nothing, svg } from 'lit';
import type { TemplateResult } from 'lit';
import type { Cluster, ClusterNode, Replication } from '../api/cluster-types.ts';
import { plural } from './format.ts';

const WIDTH = 960;
const BOX = { width: 250, height: 110 };
const WITNESS = { width: 180, height: 62 };
const ROW = 40;

interface Place {
  readonly node: ClusterNode;
  /** Middle of the box. */
  readonly x: number;
  readonly y: number;
  readonly size: { readonly width: number; readonly height: number };
}

/** Data nodes side by side, the witness between and below them. */
export function placesOf(nodes: readonly ClusterNode[]): Place[] {
  const row = (those: readonly ClusterNode[], y: number, size: Place['size']): Place[] =>
    those.map((node, i) => ({ node, x: (WIDTH * (2 * i + 1)) / (2 * those.length), y, size }));
  const data = nodes.filter(({ role }) => role === 'data');
  const witnesses = nodes.filter(({ role }) => role === 'witness');
  const top = ROW / 2 + BOX.height / 2;
  return [...row(data, top, BOX), ...row(witnesses, top + BOX.height / 2 + ROW * 1.6 + WITNESS.height / 2, WITNESS)];
}

type Health = 'good' | 'warn' | 'bad' | 'off';

/** Between two data nodes: all in step, something is being copied or missing, or one does not answer. */
function linkHealth(a: ClusterNode, b: ClusterNode, volumes: readonly Replication[]): [Health, string] {
  if (!a.answers || !b.answers) return ['bad', `${a.answers ? b.name : a.name} does not answer`];
  const shared = volumes.filter(({ replicas }) => [a, b].every(({ id }) => replicas.some(({ node }) => node === id)));
  if (shared.length === 0) return ['off', 'no volume on both'];
  const inStep = shared.filter(({ inSync }) => inSync.includes(a.id) && inSync.includes(b.id)).length;
  if (inStep === shared.length) return ['good', `${plural(inStep, 'volume')} in step`];
  return ['warn', `${inStep} of ${plural(shared.length, 'volume')} in step`];
}

/** What the drawing says, in words. */
function spoken(cluster: Cluster, volumes: readonly Replication[]): string {
  return cluster.nodes
    .map(({ id, name, role, answers }) => {
      const owned = volumes.filter(({ owner }) => owner === id).length;
      const what = role === 'witness' ? 'witness' : `serves ${plural(owned, 'volume')}`;
      return `${name}: ${answers ? what : 'does not answer'}`;
    })
    .join('; ');
}

export function topology(cluster: Cluster, volumes: readonly Replication[]): TemplateResult {
  const places = placesOf(cluster.nodes);
  const bottom = Math.max(...places.map(({ y, size }) => y + size.height / 2)) + ROW / 2;
  const data = places.filter(({ node }) => node.role === 'data');
  const witnesses = places.filter(({ node }) => node.role === 'witness');
  return html`<svg
    class="topology"
    viewBox=${`0 0 ${WIDTH} ${bottom}`}
    role="img"
    aria-label=${`Nodes of the cluster. ${spoken(cluster, volumes)}`}
  >
    ${witnesses.flatMap((witness) =>
      data.map(
        (each) =>
          svg`<line class=${`link ${witness.node.answers && each.node.answers ? 'off' : 'bad'}`} x1=${witness.x} y1=${witness.y} x2=${each.x} y2=${each.y} />`,
      ),
    )}
    ${data.slice(1).map((to, i) => link(data[i] ?? to, to, volumes))} ${places.map((place) => box(place, volumes))}
  </svg>`;
}

function link(from: Place, to: Place, volumes: readonly Replication[]): unknown {
  const [health, words] = linkHealth(from.node, to.node, volumes);
  const middle = (from.x + to.x) / 2;
  return svg`<line class=${`link ${health}`} x1=${from.x} y1=${from.y} x2=${to.x} y2=${to.y} />
    <text class="link-text" x=${middle} y=${from.y - 10} text-anchor="middle">${words}</text>`;
}

function box({ node, x, y, size }: Place, volumes: readonly Replication[]): unknown {
  const left = x - size.width / 2;
  const top = y - size.height / 2;
  const owned = volumes.filter(({ owner }) => owner === node.id).length;
  const behind = volumes.filter(
    ({ replicas, inSync }) => replicas.some((each) => each.node === node.id) && !inSync.includes(node.id),
  ).length;
  const lines =
    node.role === 'witness'
      ? [node.answers ? 'a vote, no disks' : 'does not answer']
      : !node.answers
        ? ['does not answer', node.address]
        : [
            `serves ${plural(owned, 'volume')}`,
            behind === 0 ? 'has all that was acknowledged' : `behind with ${plural(behind, 'volume')}`,
            node.address,
          ];
  const health: Health = !node.answers ? 'bad' : behind > 0 ? 'warn' : 'good';
  return svg`<g>
    <rect class=${`node ${health}`} x=${left} y=${top} width=${size.width} height=${size.height} rx="6" />
    <text class="node-name" x=${left + 16} y=${top + 28}>${node.name}${node.self ? svg`<tspan class="node-note"> this node</tspan>` : nothing}</text>
    ${lines.map((line, i) => svg`<text class="node-text" x=${left + 16} y=${top + 50 + i * 22}>${line}</text>`)}
  </g>`;
}

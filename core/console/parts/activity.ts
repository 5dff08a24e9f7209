import { html } from 'lit';
import type { TemplateResult } from 'lit';
import { pointsOf } from '../api/series.ts';
import type { Point } from '../api/series.ts';
import { count, latency, rate } from './format.ts';
import type { Line } from './plot.ts';
import './plot.ts';

/** Throughput, commands and latency of a volume, or of all. */
export function activityPlots(volume?: string): TemplateResult {
  const points = pointsOf(volume);
  const lines = (read: (point: Point) => number | undefined, write: (point: Point) => number | undefined): Line[] => [
    { label: 'Read', points: points.map((point) => [point.at, read(point)]) },
    { label: 'Write', points: points.map((point) => [point.at, write(point)]) },
  ];
  const perSecond = (value: number): string => `${count(value)}/s`;
  return html`<div class="plots">
    <gemel-plot
      label="Throughput"
      least="1048576"
      binary
      .format=${rate}
      .lines=${lines(
        (point) => point.read,
        (point) => point.written,
      )}
    ></gemel-plot>
    <gemel-plot
      label="Commands"
      least="10"
      .format=${perSecond}
      .lines=${lines(
        (point) => point.reads,
        (point) => point.writes,
      )}
    ></gemel-plot>
    <gemel-plot
      label="Latency, mean"
      least="100"
      .format=${latency}
      .lines=${lines(
        (point) => point.readLatency,
        (point) => point.writeLatency,
      )}
    ></gemel-plot>
  </div>`;
}

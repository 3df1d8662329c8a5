// The summary of a run: a table on standard output and, with OUT=DIR, SCENARIO.json and SCENARIO.md in that folder.

import { MANIFEST, WRITE_MANIFEST } from './site.js';
import { baseUrl, text } from './settings.js';

/** An existing folder, since k6 cannot create one; '' writes no files. */
const folder = text('OUT', '');

/** @param {number | undefined} ms */
function format(ms) {
  return ms === undefined ? '–' : ms.toFixed(1);
}

/**
 * Returns k6's `handleSummary` for a scenario.
 * @param {string} scenario
 * @param {(data: any) => { fields: object, lines: string[] }} [details] more fields of the JSON file, and more lines of the table
 * @returns {(data: any) => { [file: string]: string }}
 */
export function summary(scenario, details = () => ({ fields: {}, lines: [] })) {
  return (data) => {
    const rows = [];
    for (const [metric, { values }] of Object.entries(data.metrics)) {
      const tags = metric.match(/^response_ms\{variant:([^,]+),outcome:([^}]+)\}$/);
      if (!tags) continue;
      const [, variant, outcome] = tags;
      const selector = `{variant:${variant},outcome:${outcome}}`;
      const { count = 0 } = data.metrics[`responses${selector}`]?.values || {};
      const countOf = (/** @type {string} */ rate) => data.metrics[`${rate}${selector}`]?.values.passes || 0;
      rows.push({
        variant,
        outcome,
        count,
        wrong: countOf('wrong'),
        failed: countOf('failed'),
        p50: values.med,
        p95: values['p(95)'],
        p99: values['p(99)'],
        max: values.max,
      });
    }
    rows.sort((a, b) => a.outcome.localeCompare(b.outcome) || a.variant.localeCompare(b.variant));
    /** The thresholds that were missed. */
    const failed = Object.entries(data.metrics).flatMap(([metric, { thresholds }]) =>
      Object.entries(thresholds || {}).filter(([, { ok }]) => !ok).map(([threshold]) => `${metric} ${threshold}`),
    );
    const seconds = data.state.testRunDurationMs / 1e3;
    const requests = data.metrics.http_reqs?.values.count || 0;
    const dropped = data.metrics.dropped_iterations?.values.count || 0;
    const more = details(data);
    const result = { scenario, base: baseUrl, seconds, requests, dropped, failed, rows, ...more.fields };
    const lines = [
      `${scenario}: ${requests} requests in ${seconds.toFixed(0)} s, ${(requests / seconds).toFixed(0)} per second, ${dropped} dropped`,
      '',
      '| outcome | variant | responses | wrong | failed | p50 ms | p95 ms | p99 ms | max ms |',
      '|---|---|---:|---:|---:|---:|---:|---:|---:|',
      ...rows.map(({ outcome, variant, count, ...row }) => {
        const latencies = [row.p50, row.p95, row.p99, row.max].map(format).join(' | ');
        return `| ${outcome} | ${variant} | ${count} | ${row.wrong} | ${row.failed} | ${latencies} |`;
      }),
      '',
      ...more.lines,
      failed.length === 0 ? 'All thresholds passed.' : `**Thresholds missed:** ${failed.join('; ')}`,
      ...(rows.some((row) => row.wrong > 0) ? ['', `The responses are compared with ${MANIFEST}. For another site, ${WRITE_MANIFEST}.`] : []),
      '',
    ].join('\n');
    const files = { [`${folder}/${scenario}.json`]: `${JSON.stringify(result, null, 2)}\n`, [`${folder}/${scenario}.md`]: lines };
    return { ...(folder ? files : {}), stdout: `\n${lines}\n` };
  };
}

/** k6's `summaryTrendStats`: the statistics of each trend that `summary` reads. */
export const TREND_STATS = ['med', 'p(95)', 'p(99)', 'max'];

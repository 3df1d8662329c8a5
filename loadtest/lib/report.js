// What a run came to: SCENARIO.json for `loadtest/compare`, SCENARIO.md for people, and a table on the terminal.

import { base, text } from './settings.js';

const folder = text('OUT', '.');

/** @param {number | undefined} ms */
function ms(ms) {
  return ms === undefined ? '–' : ms.toFixed(1);
}

/**
 * @param {string} name of the scenario
 * @returns {(data: any) => { [file: string]: string }}
 */
export function summary(name) {
  return (data) => {
    const rows = [];
    for (const [metric, { values }] of Object.entries(data.metrics)) {
      const of = metric.match(/^answer_ms\{variant:([^,]+),outcome:([^}]+)\}$/);
      if (!of) continue;
      const [, variant, outcome] = of;
      const tagged = `{variant:${variant},outcome:${outcome}}`;
      const { count = 0 } = data.metrics[`answers${tagged}`]?.values || {};
      const many = (/** @type {string} */ metric) => data.metrics[`${metric}${tagged}`]?.values.passes || 0;
      rows.push({ variant, outcome, count, wrong: many('wrong'), failed: many('failed'), p50: values.med, p95: values['p(95)'], p99: values['p(99)'], max: values.max });
    }
    rows.sort((a, b) => a.outcome.localeCompare(b.outcome) || a.variant.localeCompare(b.variant));
    const failed = Object.entries(data.metrics).flatMap(([metric, { thresholds }]) =>
      Object.entries(thresholds || {}).filter(([, { ok }]) => !ok).map(([threshold]) => `${metric} ${threshold}`),
    );
    const seconds = data.state.testRunDurationMs / 1e3;
    const requests = data.metrics.http_reqs?.values.count || 0;
    const result = { scenario: name, base, seconds, requests, dropped: data.metrics.dropped_iterations?.values.count || 0, failed, rows };
    const lines = [
      `${name}: ${requests} requests in ${seconds.toFixed(0)} s, ${(requests / seconds).toFixed(0)} a second, ${result.dropped} dropped`,
      '',
      '| outcome | variant | answers | wrong | failed | p50 ms | p95 ms | p99 ms | max ms |',
      '|---|---|---:|---:|---:|---:|---:|---:|---:|',
      ...rows.map((row) => `| ${row.outcome} | ${row.variant} | ${row.count} | ${row.wrong} | ${row.failed} | ${ms(row.p50)} | ${ms(row.p95)} | ${ms(row.p99)} | ${ms(row.max)} |`),
      '',
      failed.length === 0 ? 'Every threshold holds.' : `**Thresholds missed:** ${failed.join('; ')}`,
      '',
    ].join('\n');
    return { [`${folder}/${name}.json`]: `${JSON.stringify(result, null, 2)}\n`, [`${folder}/${name}.md`]: lines, stdout: `\n${lines}\n` };
  };
}

/** What k6 works out of each trend. */
export const STATISTICS = ['med', 'p(95)', 'p(99)', 'max'];

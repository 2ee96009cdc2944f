/** A line chart as an SVG text: steps along the x axis, the logarithm of the loss along the y axis. */

export interface Series {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

const width = 720;
const height = 420;
const margin = { left: 64, right: 24, top: 40, bottom: 52 };
const colours = ["#2563eb", "#d97706", "#059669", "#9333ea"];

function escapeXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** About `count` round steps (1, 2 or 5 times a power of ten) from 0 up to `maximum`. */
function roundTicks(maximum: number, count: number): number[] {
  const raw = maximum / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= raw)!;
  return Array.from({ length: Math.floor(maximum / step) + 1 }, (_, i) => i * step);
}

/** 1, 2 and 5 times every power of ten within the range. */
function logTicks(minimum: number, maximum: number): number[] {
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(minimum)); power <= Math.ceil(Math.log10(maximum)); power++) {
    // The text route keeps 0.001 from becoming 0.0010000000000000002.
    for (const factor of [1, 2, 5]) ticks.push(Number(`${factor}e${power}`));
  }
  return ticks.filter((tick) => tick >= minimum && tick <= maximum);
}

export function lineChart(title: string, xLabel: string, yLabel: string, series: readonly Series[]): string {
  const points = series.flatMap((line) => line.points).filter(([, y]) => y > 0 && Number.isFinite(y));
  const maxX = Math.max(1, ...points.map(([x]) => x));
  const minY = Math.min(...points.map(([, y]) => y), 1) * 0.9;
  const maxY = Math.max(...points.map(([, y]) => y), minY * 2) * 1.1;
  const right = width - margin.right;
  const bottom = height - margin.bottom;
  const x = (value: number): number => margin.left + (value / maxX) * (right - margin.left);
  const y = (value: number): number =>
    bottom - (Math.log(value / minY) / Math.log(maxY / minY)) * (bottom - margin.top);
  const parts: string[] = [];
  for (const tick of logTicks(minY, maxY)) {
    const at = y(tick).toFixed(1);
    parts.push(`<path class="grid" d="M${margin.left} ${at}H${right}"/>`);
    parts.push(`<text x="${margin.left - 8}" y="${at}" dy="4" text-anchor="end">${tick}</text>`);
  }
  for (const tick of roundTicks(maxX, 6)) {
    const at = x(tick).toFixed(1);
    parts.push(`<path class="axis" d="M${at} ${bottom}v5"/>`);
    parts.push(`<text x="${at}" y="${bottom + 20}" text-anchor="middle">${tick.toLocaleString("en")}</text>`);
  }
  parts.push(`<path class="axis" d="M${margin.left} ${margin.top}V${bottom}H${right}"/>`);
  series.forEach((line, i) => {
    const colour = colours[i % colours.length]!;
    const path = line.points
      .filter(([, value]) => value > 0 && Number.isFinite(value))
      .map(([px, py]) => `${x(px).toFixed(1)} ${y(py).toFixed(1)}`)
      .join("L");
    if (path) parts.push(`<path d="M${path}" fill="none" stroke="${colour}" stroke-width="2"/>`);
    const legend = margin.top + 14 + 18 * i;
    parts.push(`<path d="M${right - 118} ${legend}h22" stroke="${colour}" stroke-width="2"/>`);
    parts.push(`<text x="${right - 90}" y="${legend + 4}">${escapeXml(line.name)}</text>`);
  });
  const middle = (margin.left + right) / 2;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
<title>${escapeXml(title)}</title>
<style>text{font:12px system-ui,sans-serif;fill:#333}.title{font-size:15px}.grid{stroke:#ddd}.axis{stroke:#666;fill:none}</style>
<rect width="100%" height="100%" fill="#fff"/>
<text class="title" x="${middle}" y="22" text-anchor="middle">${escapeXml(title)}</text>
${parts.join("\n")}
<text x="${middle}" y="${height - 12}" text-anchor="middle">${escapeXml(xLabel)}</text>
<text transform="translate(16 ${(margin.top + bottom) / 2}) rotate(-90)" text-anchor="middle">${escapeXml(yLabel)}</text>
</svg>
`;
}

/** Numbers and times as people read them; an em dash stands for "not known". */

const UNKNOWN = "–";

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return UNKNOWN;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = value < 1024 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(value) / 10));
  const scaled = value / 1024 ** power;
  return `${power === 0 ? scaled : Number.isInteger(scaled) ? scaled : scaled.toFixed(scaled < 10 ? 2 : scaled < 100 ? 1 : 0)} ${units[power]}`;
}

export function percent(fraction: number | null | undefined, digits = 1): string {
  return fraction === null || fraction === undefined || !Number.isFinite(fraction)
    ? UNKNOWN
    : `${(100 * fraction).toFixed(digits)} %`;
}

/** With its sign, so that a difference reads as one. */
export function points(fraction: number | null | undefined): string {
  if (fraction === null || fraction === undefined) return UNKNOWN;
  const value = 100 * fraction;
  return `${value > 0 ? "+" : value < 0 ? "−" : "±"}${Math.abs(value).toFixed(1)}`;
}

export function seconds(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return UNKNOWN;
  if (value < 1e-3) return `${(value * 1e6).toFixed(0)} µs`;
  if (value < 1) return `${(value * 1e3).toFixed(value < 0.01 ? 2 : value < 0.1 ? 1 : 0)} ms`;
  return value < 10 ? `${value.toFixed(2)} s` : duration(value);
}

export function duration(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return UNKNOWN;
  const total = Math.max(0, Math.round(value));
  const [d, h, m, s] = [Math.floor(total / 86400), Math.floor(total / 3600) % 24, Math.floor(total / 60) % 60, total % 60];
  if (d) return `${d} d ${h} h`;
  if (h) return `${h} h ${m} min`;
  if (m) return m < 10 && s ? `${m} min ${s} s` : `${m} min`;
  return `${s} s`;
}

/** The same in little space: "1m 16s". */
export function shortDuration(value: number): string {
  return duration(value).replace(" min", "m").replace(/ ([dhs])/g, "$1");
}

/** A metric's value in about four significant digits. */
export function value(number: number | null | undefined): string {
  if (number === null || number === undefined || !Number.isFinite(number)) return UNKNOWN;
  const size = Math.abs(number);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return number.toExponential(2);
  if (Number.isInteger(number)) return number.toLocaleString("en-US");
  return number.toFixed(size >= 100 ? 1 : size >= 1 ? 3 : 4);
}

export function count(number: number | null | undefined): string {
  return number === null || number === undefined ? UNKNOWN : number.toLocaleString("en-US");
}

/** ``time`` and ``now`` in seconds since 1970. */
export function ago(time: number | null | undefined, now: number): string {
  if (!time) return UNKNOWN;
  const gone = now - time;
  if (gone < 5) return "just now";
  if (gone < 60) return `${Math.floor(gone)} s ago`;
  if (gone < 3600) return `${Math.floor(gone / 60)} min ago`;
  if (gone < 86400) return `${Math.floor(gone / 3600)} h ago`;
  return gone < 86400 * 14 ? `${Math.floor(gone / 86400)} d ago` : new Date(time * 1000).toLocaleDateString("en-GB");
}

export function clock(time: number): string {
  return new Date(time * 1000).toLocaleTimeString("en-GB");
}

export function moment(time: number | null | undefined): string {
  return time ? new Date(time * 1000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" }) : UNKNOWN;
}

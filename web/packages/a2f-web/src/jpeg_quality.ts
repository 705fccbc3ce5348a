/** The quality of a JPEG, told from its quantisation table; mirrors src/a2f/imageio/jpeg_quality.py. */

/** ITU-T T.81, Table K.1: of the luma, in rows. */
const STANDARD = [
  16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87,
  80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92,
  95, 98, 112, 100, 103, 99,
];

/** Place in the file -> place in rows: diagonals, every second one from its lower end. */
const ZIGZAG = Array.from({ length: 64 }, (_, k) => k).sort((a, b) => {
  const [p, q] = [(a >> 3) + (a & 7), (b >> 3) + (b & 7)];
  return p - q || (p % 2 ? (a >> 3) - (b >> 3) : (a & 7) - (b & 7));
});

/** The quality from 1 to 100 whose luma table is as fine as each table of a DQT segment, by the table's number. */
export function fineness(segment: Uint8Array): [number, number][] {
  const found: [number, number][] = [];
  for (let at = 0; at < segment.length; ) {
    const wide = segment[at] >> 4 ? 2 : 1;
    if (at + 1 + 64 * wide > segment.length) break;
    const table = new Array<number>(64);
    for (let k = 0; k < 64; k++) {
      const place = at + 1 + wide * k;
      table[ZIGZAG[k]] = wide === 2 ? (segment[place] << 8) | segment[place + 1] : segment[place];
    }
    found.push([segment[at] & 15, qualityOfTable(table)]);
    at += 1 + 64 * wide;
  }
  return found;
}

/** The quality of a table of 64 steps in rows. */
export function qualityOfTable(table: readonly number[]): number {
  const max = Math.max(...table) <= 255 ? 255 : 65535;
  const fine = ratio(table);
  let best = 1;
  let nearest = Infinity;
  for (let quality = 1; quality <= 100; quality++) {
    const percent = quality < 50 ? Math.floor(5000 / quality) : 200 - 2 * quality;
    const scaled = STANDARD.map((step) => Math.min(Math.max(Math.floor((step * percent + 50) / 100), 1), max));
    const distance = Math.abs(ratio(scaled) - fine);
    if (distance < nearest) [best, nearest] = [quality, distance];
  }
  return best;
}

function ratio(table: readonly number[]): number {
  return STANDARD.reduce((sum, standard, k) => sum + standard / Math.max(table[k], 1), 0) / 64;
}

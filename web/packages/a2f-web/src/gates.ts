/** The gates of a block (Eq. 7), from the channel means of all features before it. */

/** The numbers of one block's gate. */
export interface Gate {
  /** [C, i C]: the 1x1 convolution of Eq. 6. */
  readonly proj: Float32Array;
  /** [C, C] */
  readonly weight1: Float32Array;
  readonly bias1: Float32Array;
  readonly weight2: Float32Array;
  readonly bias2: Float32Array;
  /** λ_att, which the gate is multiplied with. */
  readonly lambda: number;
}

/**
 * The gate times λ_att.
 *
 * The mean of p over the image is a sum over the means of its sources, so the gate is known before the block runs.
 *
 * @param means channel means of x_0 .. x_{i-1}, [i C], in double precision.
 * @returns [C]
 */
export function gateOf(gate: Gate, means: Float64Array): Float32Array<ArrayBuffer> {
  const pooled = product(gate.proj, means);
  const inner = product(gate.weight1, pooled, gate.bias1).map((v) => Math.max(v, 0));
  const opened = product(gate.weight2, inner, gate.bias2).map((v) => (1 + Math.tanh(v / 2)) / 2);
  return Float32Array.from(opened, (v) => gate.lambda * v);
}

function product(matrix: Float32Array, x: Float64Array, bias?: Float32Array): Float64Array {
  const rows = matrix.length / x.length;
  const y = new Float64Array(rows);
  for (let r = 0; r < rows; r++) {
    let sum = bias ? bias[r] : 0;
    for (let k = 0; k < x.length; k++) sum += matrix[r * x.length + k] * x[k];
    y[r] = sum;
  }
  return y;
}

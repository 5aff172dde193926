/** What the editor of a new sweep starts with. */
export const EXAMPLE = `name: LASER on 4×4 Sudoku
margin: 2                # percentage points that don't matter; fixed from now on
metric: exact_accuracy
seeds: 10                # or a list of seeds
variants:                # what differs from the base; the first is the baseline
  plain: {store: {kind: none}}
  laser: {store: {kind: laser-coded}}
# sweep:                 # fields that take several values in every variant
#   kind: grid
#   fields: {model.width: [32, 64]}
base:                    # a training run without its seed
  tags: [4x4]
  task: {kind: sudoku, size: 4}
  model: {block: mlp, width: 32, heads: 2, layers: 1, latent_steps: 3, cycles: 2, positions: none}
  training: {steps: 400, batch_size: 32, learning_rate: 0.005, warmup_steps: 50, ema: 0.97, supervision_steps: 4}
`;

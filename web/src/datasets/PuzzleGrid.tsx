import { useComputedColorScheme } from "@mantine/core";
import { useEffect, useRef } from "react";
import { resolveColor } from "~/charts/options";
import classes from "./Datasets.module.css";

interface Props {
  size: number;
  question: string;
  answer: string;
  isSolved: boolean;
}

const SIDE = 180;

/** Rows and columns of a box: 6×6 has boxes of two rows and three columns. */
function boxOf(size: number): [rows: number, columns: number] {
  const rows = Math.floor(Math.sqrt(size));
  return [rows, size / rows];
}

/** A Sudoku on canvas: clues strong, the solution in the accent colour. */
export function PuzzleGrid({ size, question, answer, isSolved }: Props) {
  const ref = useRef<HTMLCanvasElement>(null);
  const scheme = useComputedColorScheme("light");
  useEffect(() => {
    if (ref.current) drawGrid(ref.current, { size, question, answer, isSolved });
  }, [size, question, answer, isSolved, scheme]);
  const clues = [...question].filter((cell) => cell !== "." && cell !== "0").length;
  return <canvas ref={ref} className={classes.grid} role="img" aria-label={`${size} by ${size} puzzle with ${clues} clues`} data-testid="puzzle" />;
}

function drawGrid(canvas: HTMLCanvasElement, { size, question, answer, isSolved }: Props): void {
  const context = canvas.getContext("2d");
  const place = canvas.parentElement;
  if (!context || !place) return;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = canvas.height = SIDE * ratio;
  context.scale(ratio, ratio);
  const cell = (SIDE - 2) / size;
  const ink = (name: string) => resolveColor(place, `var(--${name})`);
  context.textAlign = "center";
  context.textBaseline = "middle";
  for (let i = 0; i < size * size; i += 1) {
    const clue = question[i] ?? ".";
    const isBlank = clue === "." || clue === "0";
    if (isBlank && !isSolved) continue;
    context.font = `${isBlank ? "400" : "600"} ${Math.round(cell * 0.56)}px system-ui, sans-serif`;
    context.fillStyle = ink(isBlank ? "accent" : "text");
    context.fillText(isBlank ? (answer[i] ?? "") : clue, 1 + ((i % size) + 0.5) * cell, 1.5 + (Math.floor(i / size) + 0.53) * cell);
  }
  drawLines(context, size, cell, ink("line-strong"), ink("text-muted"));
}

function drawLines(context: CanvasRenderingContext2D, size: number, cell: number, thin: string, thick: string): void {
  const [rows, columns] = boxOf(size);
  const line = (isBox: boolean, x1: number, y1: number, x2: number, y2: number) => {
    context.strokeStyle = isBox ? thick : thin;
    context.lineWidth = isBox ? 1.5 : 0.75;
    context.beginPath();
    context.moveTo(x1, y1);
    context.lineTo(x2, y2);
    context.stroke();
  };
  for (const isBox of [false, true]) {
    for (let i = 0; i <= size; i += 1) {
      const at = 1 + i * cell;
      if ((i % columns === 0) === isBox) line(isBox, at, 1, at, SIDE - 1);
      if ((i % rows === 0) === isBox) line(isBox, 1, at, SIDE - 1, at);
    }
  }
}

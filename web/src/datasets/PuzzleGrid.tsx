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

/** A Sudoku or a maze on canvas: what is given strong, the solution in the accent colour. */
export function PuzzleGrid({ size, question, answer, isSolved }: Props) {
  const ref = useRef<HTMLCanvasElement>(null);
  const scheme = useComputedColorScheme("light");
  useEffect(() => {
    if (ref.current) drawPuzzle(ref.current, { size, question, answer, isSolved });
  }, [size, question, answer, isSolved, scheme]);
  const clues = [...question].filter((cell) => cell !== "." && cell !== "0").length;
  const label = isMaze(question) ? `${size} by ${size} maze` : `${size} by ${size} puzzle with ${clues} clues`;
  return <canvas ref={ref} className={classes.grid} role="img" aria-label={label} data-testid="puzzle" />;
}

function isMaze(question: string): boolean {
  return question.includes("S");
}

function drawPuzzle(canvas: HTMLCanvasElement, props: Props): void {
  const context = canvas.getContext("2d");
  const place = canvas.parentElement;
  if (!context || !place) return;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = canvas.height = SIDE * ratio;
  context.scale(ratio, ratio);
  const ink = (name: string) => resolveColor(place, `var(--${name})`);
  (isMaze(props.question) ? drawMaze : drawSudoku)(context, props, ink);
}

type Ink = (name: string) => string;

function drawMaze(context: CanvasRenderingContext2D, { size, question, answer, isSolved }: Props, ink: Ink): void {
  const cell = (SIDE - 2) / size;
  const colors: Record<string, string> = { "#": ink("text-muted"), S: ink("text"), G: ink("text"), o: ink("accent") };
  [...(isSolved ? answer : question)].forEach((kind, i) => {
    const color = colors[kind];
    if (!color) return;
    const [x, y] = [1 + (i % size) * cell, 1 + Math.floor(i / size) * cell];
    context.fillStyle = color;
    if (kind === "#") context.fillRect(x, y, cell, cell);
    else {
      context.beginPath();
      context.arc(x + cell / 2, y + cell / 2, cell * (kind === "o" ? 0.2 : 0.4), 0, 2 * Math.PI);
      context.fill();
    }
  });
  context.strokeStyle = ink("line-strong");
  context.strokeRect(0.5, 0.5, SIDE - 1, SIDE - 1);
}

function drawSudoku(context: CanvasRenderingContext2D, { size, question, answer, isSolved }: Props, ink: Ink): void {
  const cell = (SIDE - 2) / size;
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

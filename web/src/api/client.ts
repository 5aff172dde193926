/** One way to the API: JSON in, JSON out, every failure an ApiError that can say which field is at fault. */
import type { Problem } from "~/api/model";

export const API = "/api/v1";

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    readonly errors: Problem[] = [],
  ) {
    super(detail || title);
    this.name = "ApiError";
  }

  get isSignedOut(): boolean {
    return this.status === 401;
  }
}

type Params = Record<string, string | number | boolean | readonly string[] | undefined>;

/** `/runs?state=running&state=queued`: lists repeat the key, empty values are left out. */
export function query(path: string, params: Params = {}): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(params)) {
    if (value === undefined || value === "") continue;
    if (Array.isArray(value)) value.forEach((item) => search.append(key, String(item)));
    else search.append(key, String(value));
  }
  const text = search.toString();
  return text ? `${path}?${text}` : path;
}

interface Options {
  method?: "GET" | "POST" | "PATCH" | "DELETE";
  body?: unknown;
  form?: FormData;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

export async function request<T>(path: string, options: Options = {}): Promise<T> {
  const { method = "GET", body, form, headers = {}, signal } = options;
  const init: RequestInit = { method, headers: { Accept: "application/json", ...headers } };
  if (signal) init.signal = signal;
  if (form) init.body = form;
  else if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { ...init.headers, "Content-Type": "application/json" };
  }
  const response = await reach(API + path, init);
  if (!response.ok) throw await failure(response);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

async function reach(url: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "Server not reachable", "The server does not answer. Is `laser up` still running?");
  }
}

async function failure(response: Response): Promise<ApiError> {
  const fallback = `The server answered ${response.status} ${response.statusText}`.trim();
  try {
    const problem = (await response.json()) as { title?: string; detail?: string; errors?: Problem[] };
    return new ApiError(response.status, problem.title ?? fallback, problem.detail ?? "", problem.errors ?? []);
  } catch {
    return new ApiError(response.status, fallback, "");
  }
}

export function isSignedOut(error: unknown): boolean {
  return error instanceof ApiError && error.isSignedOut;
}

export function messageOf(error: unknown): string {
  if (error instanceof ApiError) {
    const fields = error.errors.map((e) => (e.field ? `${e.field}: ${e.message}` : e.message));
    return [error.detail || error.title, ...fields.filter((f) => f !== error.detail)].join("\n");
  }
  return error instanceof Error ? error.message : String(error);
}

/** Every page's address and what its search part may hold; pages load when first visited. */
import { createRootRoute, createRoute, createRouter, lazyRouteComponent } from "@tanstack/react-router";
import { Crash, NotFound } from "~/shell/Crash";
import { Shell } from "~/shell/Shell";

type Search = Record<string, unknown>;

const text = (value: unknown): string | undefined =>
  typeof value === "string" || typeof value === "number" ? String(value) || undefined : undefined;
const list = (value: unknown): string[] | undefined => {
  const items = (Array.isArray(value) ? value : [value]).map(text).filter((item) => item !== undefined);
  return items.length ? items : undefined;
};

const root = createRootRoute({ component: Shell, notFoundComponent: NotFound, errorComponent: Crash });

export interface RunsSearch {
  filter?: string | undefined;
  state?: string[] | undefined;
  store?: string | undefined;
  kind?: string | undefined;
  tag?: string[] | undefined;
  sort?: string | undefined;
  col?: string[] | undefined;
}

export const runsRoute = createRoute({
  getParentRoute: () => root,
  path: "/",
  validateSearch: (search: Search): RunsSearch => ({
    filter: text(search.filter),
    state: list(search.state),
    store: text(search.store),
    kind: text(search.kind),
    tag: list(search.tag),
    sort: text(search.sort),
    col: list(search.col),
  }),
  component: lazyRouteComponent(() => import("~/runs/RunsPage"), "RunsPage"),
});

export interface RunSearch {
  tab?: string | undefined;
  /** Of the recursion player: the puzzle, or its number in the test set; another run; the call at hand. */
  puzzle?: string | undefined;
  index?: string | undefined;
  beside?: string | undefined;
  at?: string | undefined;
}

export const runRoute = createRoute({
  getParentRoute: () => root,
  path: "/runs/$id",
  validateSearch: (search: Search): RunSearch => ({
    tab: text(search.tab),
    puzzle: text(search.puzzle),
    index: text(search.index),
    beside: text(search.beside),
    at: text(search.at),
  }),
  component: lazyRouteComponent(() => import("~/run/RunPage"), "RunPage"),
});

export const newRoute = createRoute({
  getParentRoute: () => root,
  path: "/new",
  validateSearch: (search: Search): { from?: string | undefined; preset?: string | undefined } => ({
    from: text(search.from),
    preset: text(search.preset),
  }),
  component: lazyRouteComponent(() => import("~/form/NewRunPage"), "NewRunPage"),
});

export const compareRoute = createRoute({
  getParentRoute: () => root,
  path: "/compare",
  validateSearch: (search: Search): { run?: string[] | undefined; tag?: string[] | undefined } => ({
    run: list(search.run),
    tag: list(search.tag),
  }),
  component: lazyRouteComponent(() => import("~/compare/ComparePage"), "ComparePage"),
});

export const experimentsRoute = createRoute({
  getParentRoute: () => root,
  path: "/experiments",
  component: lazyRouteComponent(() => import("~/experiments/ExperimentsPage"), "ExperimentsPage"),
});

export const experimentRoute = createRoute({
  getParentRoute: () => root,
  path: "/experiments/$id",
  component: lazyRouteComponent(() => import("~/experiments/ExperimentPage"), "ExperimentPage"),
});

export const sweepRoute = createRoute({
  getParentRoute: () => root,
  path: "/sweep",
  validateSearch: (search: Search): { from?: string | undefined } => ({ from: text(search.from) }),
  component: lazyRouteComponent(() => import("~/experiments/SweepPage"), "SweepPage"),
});

export const datasetsRoute = createRoute({
  getParentRoute: () => root,
  path: "/datasets",
  validateSearch: (search: Search): { id?: string | undefined } => ({ id: text(search.id) }),
  component: lazyRouteComponent(() => import("~/datasets/DatasetsPage"), "DatasetsPage"),
});

export const workersRoute = createRoute({
  getParentRoute: () => root,
  path: "/workers",
  component: lazyRouteComponent(() => import("~/workers/WorkersPage"), "WorkersPage"),
});

const accountRoute = createRoute({
  getParentRoute: () => root,
  path: "/account",
  component: lazyRouteComponent(() => import("~/account/AccountPage"), "AccountPage"),
});

const adminRoute = createRoute({
  getParentRoute: () => root,
  path: "/admin",
  component: lazyRouteComponent(() => import("~/admin/AdminPage"), "AdminPage"),
});

/** `?state=running&state=queued`, so that addresses read like the API's. */
function stringifySearch(search: Search): string {
  const params = new URLSearchParams();
  for (const [key, value] of Object.entries(search)) {
    if (value === undefined || value === null || value === "") continue;
    for (const item of Array.isArray(value) ? value : [value]) params.append(key, String(item));
  }
  const joined = params.toString();
  return joined ? `?${joined}` : "";
}

function parseSearch(search: string): Search {
  const params = new URLSearchParams(search);
  return Object.fromEntries(
    [...new Set(params.keys())].map((key) => {
      const values = params.getAll(key);
      return [key, values.length > 1 ? values : values[0]];
    }),
  );
}

export const router = createRouter({
  routeTree: root.addChildren([runsRoute, runRoute, newRoute, compareRoute, experimentsRoute, experimentRoute, sweepRoute, datasetsRoute, workersRoute, accountRoute, adminRoute]),
  stringifySearch,
  parseSearch,
  defaultPreload: "intent",
  defaultErrorComponent: Crash,
  scrollRestoration: true,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}

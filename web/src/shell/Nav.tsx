import { Button, SegmentedControl, useMantineColorScheme, type MantineColorScheme } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useReadOnly } from "~/account/ReadOnly";
import { meQuery } from "~/api/queries";
import { WorkersLine } from "~/workers/WorkersLine";
import { Icon, type IconName } from "~/ui/icons";
import classes from "./Nav.module.css";

const pages = [
  { to: "/", label: "Runs", icon: "runs" },
  { to: "/experiments", label: "Experiments", icon: "experiment" },
  { to: "/compare", label: "Compare", icon: "compare" },
  { to: "/datasets", label: "Datasets", icon: "data" },
  { to: "/workers", label: "Pool", icon: "workers" },
] as const satisfies readonly { to: string; label: string; icon: IconName }[];

export function Brand() {
  return (
    <Link to="/" className={classes.brand}>
      <img src="/favicon.svg" alt="" width={24} height={24} />
      LASER lab
    </Link>
  );
}

export function Nav() {
  const { data: me } = useQuery(meQuery());
  const readOnly = useReadOnly();
  return (
    <nav className={classes.nav} aria-label="Main">
      <Brand />
      {readOnly ? (
        <p className={classes.readOnly} title={readOnly} data-testid="read-only">
          <Icon name="lock" size={14} /> Read only
        </p>
      ) : (
        <Button
          leftSection={<Icon name="plus" />}
          className={classes.new}
          renderRoot={(props) => <Link to="/new" {...props} />}
          data-testid="nav-new"
        >
          New run
        </Button>
      )}
      {pages.map(({ to, label, icon }) => (
        <Link
          key={to}
          to={to}
          className={classes.item}
          activeProps={{ "data-active": true }}
          activeOptions={{ exact: true, includeSearch: false }}
          data-testid={`nav-${label.toLowerCase()}`}
        >
          <Icon name={icon} />
          {label}
        </Link>
      ))}
      <div className={classes.foot}>
        <WorkersLine />
        <SchemeToggle />
        <div className={classes.people}>
          <Link to="/account" className={classes.minor} data-testid="nav-account">
            Account
          </Link>
          {me?.role === "admin" && (
            <Link to="/admin" className={classes.minor} data-testid="nav-admin">
              Admin
            </Link>
          )}
        </div>
        <a href="/openapi.json" className={classes.minor}>
          API schema
        </a>
      </div>
    </nav>
  );
}

const schemes: { value: MantineColorScheme; label: string; icon: IconName }[] = [
  { value: "light", label: "Light", icon: "sun" },
  { value: "auto", label: "Like the system", icon: "auto" },
  { value: "dark", label: "Dark", icon: "moon" },
];

function SchemeToggle() {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  return (
    <SegmentedControl
      size="xs"
      fullWidth
      value={colorScheme}
      onChange={(value) => setColorScheme(value as MantineColorScheme)}
      aria-label="Colour scheme"
      data-testid="scheme-toggle"
      data={schemes.map(({ value, label, icon }) => ({
        value,
        label: (
          <span title={label} style={{ display: "grid", placeItems: "center", height: 18 }}>
            <Icon name={icon} size={14} />
            <span className="visually-hidden">{label}</span>
          </span>
        ),
      }))}
    />
  );
}

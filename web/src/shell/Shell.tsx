import { ActionIcon, Drawer } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { Link, Outlet, useLocation } from "@tanstack/react-router";
import { useEffect } from "react";
import { useReadOnly } from "~/account/ReadOnly";
import { isSignedOut } from "~/api/client";
import { meQuery, workersQuery } from "~/api/queries";
import { Brand, Nav } from "~/shell/Nav";
import { useNotices } from "~/shell/notices";
import { SignedOut } from "~/shell/SignedOut";
import { Icon } from "~/ui/icons";
import classes from "./Shell.module.css";

/** Frame of every page: navigation beside it (above it on a phone). */
export function Shell() {
  const [isOpen, drawer] = useDisclosure(false);
  const { pathname } = useLocation();
  const { close } = drawer;
  useEffect(close, [pathname, close]);
  const { error } = useQuery(workersQuery());
  const me = useQuery(meQuery());
  const readOnly = useReadOnly();
  useNotices();
  if (isSignedOut(error)) return <SignedOut />;
  return (
    <div className={classes.shell}>
      <a href="#main" className="skip-link">
        Skip to content
      </a>
      <aside className={classes.side}>
        <Nav />
      </aside>
      <header className={classes.top}>
        <ActionIcon variant="subtle" color="gray" size="lg" onClick={drawer.open} aria-label="Open navigation">
          <Icon name="runs" size={20} />
        </ActionIcon>
        <Brand />
        {!readOnly && (
          <ActionIcon
            variant="filled"
            size="lg"
            aria-label="New run"
            style={{ marginLeft: "auto" }}
            renderRoot={(props) => <Link to="/new" {...props} />}
          >
            <Icon name="plus" size={18} />
          </ActionIcon>
        )}
      </header>
      <Drawer opened={isOpen} onClose={drawer.close} size={250} withCloseButton={false} padding={0} title={undefined}>
        <div className={classes.drawer}>
          <Nav />
        </div>
      </Drawer>
      <main id="main" className={classes.main} tabIndex={-1}>
        {/* Pages ask what the person may do, so that is known before one is drawn. */}
        {!me.isPending && <Outlet />}
      </main>
    </div>
  );
}

import { Copy } from "~/ui/Copy";
import classes from "./Account.module.css";

/** A secret that the server tells this once. */
export function Once({ text, what }: { text: string; what: string }) {
  return (
    <div className={classes.once} role="status" data-testid="once">
      <div>
        {what} It is shown this once: <code>{text}</code>
      </div>
      <Copy text={text} label="Copy it" />
    </div>
  );
}

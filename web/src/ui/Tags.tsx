import { Link } from "@tanstack/react-router";
import classes from "./Tags.module.css";

/** An experiment's id among the tags of its runs leads to it. */
export function Tags({ tags }: { tags: readonly string[] }) {
  return tags.map((tag) =>
    /^x_[a-z0-9]{12}$/.test(tag) ? (
      <Link key={tag} to="/experiments/$id" params={{ id: tag }} className={classes.tag} title="To its experiment">
        {tag}
      </Link>
    ) : (
      <span key={tag} className={classes.tag}>
        {tag}
      </span>
    ),
  );
}

-- Nothing: a place for a step that is made beside this one.
SELECT 1;

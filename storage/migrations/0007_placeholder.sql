-- Nothing: a place for another step that is made beside this one.
SELECT 1;

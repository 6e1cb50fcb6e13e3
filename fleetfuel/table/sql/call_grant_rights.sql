-- Grant what the roles of this database need; says what was skipped.
select granted::text as said from fuel.grant_rights() as granted

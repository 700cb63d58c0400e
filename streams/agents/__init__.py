"""The role `agents`: what is thin. The approvals page, and Faust agents that deliver alerts, time approvals, and look
for gaps and bursts. Truth never rests on Faust: what it repeats after a crash carries the same id."""

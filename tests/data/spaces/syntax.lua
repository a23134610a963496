return triage.space {
   op = = 1
}

"""Asking a language model for paraphrases: prompts, providers, ledger, budget, guards.

```
caption ─► request (key = sha256 of everything that decides the reply)
              ├─ in the ledger ─► reply
              └─ not there ────► provider: replay · rules · openai · openai-batch ─► ledger ─► reply
reply ─► parsing ─► guards ─► children and dropped items, each with its reason
```

Captions are third-party texts, often offensive, and may hold names of persons: the providers
`openai` and `openai-batch` send them to the server that was named.
"""

"""Any source as training rows and held-out prompts, in plain Python and without torch.

source -> read -> split -> derive -> frame
          canonical columns  what the     texts or chat, once
          (rlexp.spec.data)  algorithm    the tokenizer is known
                             needs
"""

"""The two-dimensional LSTM, whose directions may start from any corner and whose images may have sizes of their own."""

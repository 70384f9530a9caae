"""Names that are taken: by C#, by .NET, and by what every generated solution declares."""

from __future__ import annotations

from typing import Final


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


KEYWORDS: Final = _names(
    """
    abstract as base bool break byte case catch char checked class const continue decimal default
    delegate do double else enum event explicit extern false finally fixed float for foreach goto
    if implicit in int interface internal is lock long namespace new null object operator out
    override params private protected public readonly ref return sbyte sealed short sizeof
    stackalloc static string struct switch this throw true try typeof uint ulong unchecked unsafe
    ushort using virtual void volatile while
    """
)
"""The reserved keywords of C# (language reference, "C# keywords"); contextual ones may be names."""

GENERATED_TYPES: Final = _names(
    """
    App AppDbContext AppDbContextFactory AppDbContextTests CheckableChoice Choice Choices
    DataConflictException DataService DatabaseInitializer DatabaseLocation DateOnlyConverter
    DialogService EditorClosedEventArgs Entity EntityEditorViewModel EntityListViewModel
    EntityNotFoundException EnumText FixedPointConverter HumanizedConverter IDataService
    IDialogService INavigationService InputErrors LocalTimeConverter MainViewModel
    MainViewModelTests MainWindow NavigationItem NavigationService NavigationServiceTests PageViewModel RecordingDialogs
    RecordingNavigation Samples ServiceRegistration TestDatabase UtcConverter
    """
)
"""The types that every generated solution declares, whatever its design."""

FRAMEWORK_TYPES: Final = _names(
    """
    Action Activator AggregateException AppContext AppDomain Application ApplicationException
    ArgumentException ArgumentNullException Array Assert Assembly AsyncRelayCommand Attribute
    Attachment Barrier BaseRelayCommand Binding Bindable Boolean Brush Buffer Button Byte
    CancelEventArgs CancellationToken CancellationTokenSource Char CheckBox Collection ComboBox
    Command Comparer Comparison Component Console Container Control Convert Converter CultureInfo
    DataGrid DataType DataTemplate DateOnly DateTime DateTimeOffset DayOfWeek DbContext
    DbContextOptions DbContextOptionsBuilder DbSet DbUpdateException DbUpdateConcurrencyException
    Debug Decimal Delegate DependencyObject DependencyProperty Dictionary Directory Dispatcher
    DispatcherUnhandledExceptionEventArgs Display DispatcherObject Double EF EditorBrowsable
    Enum Enumerable Environment EntityTypeBuilder Event EventArgs EventHandler Exception Execution
    ExecutionContext Fact File FileInfo Frame FrameworkElement FrameworkPropertyMetadata Func Grid
    GC Group Guid HashCode HashSet Host HostApplicationBuilder HostApplicationBuilderSettings
    HostOptions IAsyncDisposable IAsyncRelayCommand ICollection ICommand IComparable
    IDbContextFactory IDesignTimeDbContextFactory IDisposable IEntityTypeConfiguration IEnumerable
    IHost IHostApplicationBuilder IList ILogger INotifyPropertyChanged IProgress IQueryable
    IReadOnlyCollection IReadOnlyList IRelayCommand IServiceCollection IServiceProvider
    IValueConverter Image ImmutableObject Index Int16 Int32 Int64 InteractionTrigger Interlocked
    InvalidOperationException JsonSerializer KeyAttribute KeyValuePair Label Lazy License
    LicenseContext LicenseManager LinkedList List ListBox ListView Localizable Lock Lookup Math
    MaxLength Memory MemberInfo Menu MessageBox MessageBoxButton MessageBoxImage MessageBoxResult
    MigrationBuilder Model ModelBuilder ModelConfigurationBuilder Monitor Mutex Namespace
    NavigationEventArgs NotifyDataErrorValidationRule Nullable Object ObservableCollection
    ObservableObject ObservableProperty ObservableRecipient ObservableValidator OperatingSystem
    OrderedDictionary Overlapped Page Parallel PasswordPropertyText Path PeriodicTimer Popup
    PriorityQueue Progress Property PropertyBuilder PropertyChangedEventArgs
    PropertyChangedEventHandler Queryable Queue Random Range ReadOnly RelayCommand Required
    RequiredAttribute ResourceDictionary RoutedEventArgs Semaphore SemaphoreSlim
    ServiceCollection ServiceLifetime ServiceProvider Set Setter Single SortedDictionary SortedList
    SortedSet Span SpinLock SpinWait SqliteConnection SqliteException Stack StartupEventArgs
    ExitEventArgs String StringComparer StringComparison StringLength Style System Task
    TaskCompletionSource TaskFactory TaskScheduler TextBlock TextBox Theory Thread
    ThreadLocal ThreadPool ThreadState TimeOnly TimeProvider TimeSpan TimeZone TimeZoneInfo Timeout
    TimeoutException Timer Timestamp ToolTip Trigger Tuple Type TypeCode TypeConverter
    TypeDescriptor UIElement UIntPtr Uri UriBuilder UserControl Validation ValidationAttribute
    ValidationContext ValidationErrorEventAction ValidationErrorEventArgs ValidationException
    ValidationResult ValidationRule Validator ValueConverter ValueTask ValueTuple ValueType Version
    Visibility Visual Void Volatile WeakReference Window WindowState XmlLanguage
    ConversionValidationRule DesignTimeVisible Microsoft Windows Xunit CommunityToolkit Humanized
    """
)
"""Types that the generated code uses, or that the namespaces it imports hold besides."""

DB_CONTEXT_MEMBERS: Final = _names(
    """
    Add AddAsync AddRange AddRangeAsync Attach AttachRange ChangeTracker ContextId Database Dispose
    DisposeAsync Entry Equals Find FindAsync FromExpression GetHashCode GetType Model Remove
    RemoveRange SaveChanges SaveChangesAsync Set ToString Update UpdateRange ConfigureConventions
    OnConfiguring OnModelCreating MemberwiseClone Finalize ReferenceEquals
    """
)
"""What a DbContext already has; a set of entities cannot be called that."""

ENTITY_MEMBERS: Final = _names(
    """
    Id DisplayName Equals Finalize GetHashCode GetType MemberwiseClone ReferenceEquals ToString
    """
)
"""What every entity already has."""

EDITOR_MEMBERS: Final = _names(
    """
    CancelCommand CanSave Cancel ClearAllErrors ClearErrors Closed EditorTitle EntityId Equals
    ErrorsChanged Finalize GetErrors GetHashCode GetType HasErrors InputErrorCount IsNew
    LoadOptionsAsync MemberwiseClone Noun OnPropertyChanged OnPropertyChanging PropertyChanged
    PropertyChanging ReadFrom ReferenceEquals SaveAsync SaveCommand SaveProblem Service
    SetProperty SetPropertyAndNotifyOnCompletion StartAsync ToString TrySetProperty
    ValidateAllProperties ValidateProperty WriteTo
    """
)
"""What every form's view model already has."""

STATIC_NAMES: Final = frozenset(["Choices", "DateOnly", "DateTime", "Enum", "EnumText"])
"""Types whose static members the code of an entity or its form uses: no member may hide them."""
